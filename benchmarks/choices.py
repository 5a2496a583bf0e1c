"""What the paper leaves open, chosen by trial: the loss, the scaling of Sentinel-2, the size of the logits.

    python benchmarks/choices.py real --chips CHIPS        six cells on real chips, five folds by scene, three seeds
    python benchmarks/choices.py sandbox --data ROOT       the same cells on the sandbox, five seeds
    python benchmarks/choices.py output --data ROOT        resize or crop the logits, whole tiles, five seeds
    python benchmarks/choices.py rivals --chips CHIPS      a forest and four convolutions on the same chips and folds
    python benchmarks/choices.py tables                    what the results say

Results are added to ``benchmarks/choices.jsonl``, a line per training; what is there already is not run again, so a
trial may be stopped at any time, and several processes with other ``--seeds`` may share it. The protocol is in
``docs/choices.md``. A training takes about a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import dwplus
import numpy as np
import torch
from dwplus.model.scores.comparison import holm
from numpy.typing import NDArray
from rigs import arguments, paired, real_chips
from rigs.real_scores import chips_by_place, corine_share, esri_accuracy, matrix_of, predictions, scores_of
from rigs.rivals import forest

RESULTS = Path(__file__).with_name("choices.jsonl")
LOSSES: dict[str, dict[str, Any]] = {
    "focal": {"loss": "focal", "class_scale": "class"},
    "focal-pixel": {"loss": "focal", "class_scale": "pixel"},
    "ce": {"loss": "ce"},
}
"""The paper's focal loss; the one whose class weights are scaled by the mean pixel and capped; cross entropy."""
SCALINGS = ("linear", "log")
BUDGET = {"batch": 4, "batch_per_device": 4, "lr": 3e-3, "symmetries": True, "workers": 0, "keep_mb": 1024}
MODEL = "specsar-former-small"
RIVALS = {"forest": "a forest on single pixels", "rigs.rivals:FourLayers": "four convolutions"}
"""Method that a network is compared with -> what it is called."""

SIDES = {
    "real": ("Real chips", "fold", 90),
    "sandbox": ("Sandbox (SANDBOX: synthetic pixels)", "seed", 30),
    "rivals": ("Default settings against others on real chips", "fold", 30),
    "output": ("Size of the logits (SANDBOX: synthetic pixels)", "seed", 10),
}
"""Side of the trial -> its title, over what differences are paired, number of trainings of the protocol."""


@dataclass(frozen=True)
class Cell:
    """One training of a trial: what is varied, and where.

    Attributes:
        side: ``real``, ``sandbox``, ``output`` or ``rivals``.
        loss, scaling, output: what is varied.
        fold: of the chips; 0 on the sandbox.
        seed: of the training.
        method: network in the registry, or ``forest``.
    """

    side: str
    loss: str
    scaling: str
    output: str
    fold: int
    seed: int
    method: str = MODEL

    def settings(self) -> dict[str, Any]:
        return {
            **BUDGET,
            **LOSSES[self.loss],
            "input_scaling": self.scaling,
            "model": self.method,
            "model_options": {"output": self.output} if self.method == MODEL else {},
            "seed": self.seed,
            "device": "cpu",
        }


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("side", nargs="?", choices=(*SIDES, "tables"), default="tables")
    parser.add_argument("--chips", type=Path, help="folder of real chips; made-up ones in its place with --tiny")
    parser.add_argument("--data", type=Path, help="a data root of the sandbox")
    parser.add_argument("--seeds", default="", help="such as 0,1; default: all of the protocol")
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--steps", type=int, default=240, help="of a training on real chips")
    parser.add_argument("--epochs", type=int, default=16, help="of a training on the sandbox")
    parser.add_argument("--whole-epochs", type=int, default=4, help="of a training on whole tiles")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = arguments.parse(parser, side="real", seeds="0", folds="0", steps=2)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as place:
        if options.tiny:
            options.results = Path(place) / "choices.jsonl"
        if options.side in ("real", "rivals"):
            _real(options, Path(place))
        elif options.side != "tables":
            _sandbox(options, Path(place))
        print("\n".join(tables(options.results)))


# --- trainings --------------------------------------------------------------------------------------------------------


def _cells(side: str, folds: Sequence[int], seeds: Sequence[int]) -> Iterator[Cell]:
    for seed in seeds:
        for fold in folds:
            if side == "rivals":
                yield from (Cell(side, "ce", "linear", "resize", fold, seed, method) for method in RIVALS)
            elif side == "output":
                yield from (Cell(side, "ce", "linear", output, fold, seed) for output in ("resize", "crop"))
            else:
                yield from (Cell(side, loss, scaling, "resize", fold, seed) for loss in LOSSES for scaling in SCALINGS)


def _real(options: argparse.Namespace, place: Path) -> None:
    folder = options.chips or real_chips.made_up_chips(place / "made")
    chips = real_chips.chips_of(folder)
    folds = real_chips.folds_by_scene(chips, 5 if options.chips else 3)
    roots: dict[int, Path] = {}
    for cell in _open(options, _cells(options.side, _numbers(options.folds), _numbers(options.seeds or "0,1,2"))):
        if cell.fold not in roots:
            roots[cell.fold] = place / f"fold{cell.fold}"
            real_chips.data_set(chips, real_chips.splits_of(folds, cell.fold), roots[cell.fold])
        budget = {"steps": options.steps, "crop_px": 128 if options.chips else 32}
        _run(cell, options, budget, roots[cell.fold] / "data", place, chips=folder)


def _sandbox(options: argparse.Namespace, place: Path) -> None:
    whole = options.side == "output"
    budget = {"epochs": options.whole_epochs} if whole else {"epochs": options.epochs, "crop_px": 128}
    for cell in _open(options, _cells(options.side, [0], _numbers(options.seeds or "0,1,2,3,4"))):
        _run(cell, options, {**budget, "warmup_epochs": 1}, options.data, place)


def _open(options: argparse.Namespace, cells: Iterator[Cell]) -> Iterator[Cell]:
    """Those that have no result yet; looked at one by one, as others may be adding some."""
    for cell in cells:
        if all(found["cell"] != asdict(cell) for found in _read(options.results)):
            yield cell


def _run(
    cell: Cell,
    options: argparse.Namespace,
    budget: dict[str, Any],
    data: Path,
    place: Path,
    *,
    chips: Path | None = None,
) -> None:
    """Train and score one cell; add its line to the results."""
    start = time.perf_counter()
    train, test = (dwplus.Dataset(data, split=split) for split in ("train", "test"))
    if cell.method == "forest":
        predicted = forest(train, test, cell.seed)
        counts = matrix_of(predicted, test)
    else:
        with tempfile.TemporaryDirectory(dir=place) as folder:
            config = dwplus.profile("paper", **{**cell.settings(), **budget})
            run = dwplus.train(config, dataset_train=train, run_dir=Path(folder) / "run")
            counts, predicted = predictions(run, test)
    found: dict[str, Any] = {**scores_of(counts), "counts": counts.tolist()}
    if chips is not None:
        named = chips_by_place(chips)
        found |= {"corine": corine_share(predicted, named), "esri": esri_accuracy(predicted, named, chips)}
    line = {"cell": asdict(cell), "budget": budget, "seconds": round(time.perf_counter() - start, 1), **found}
    with options.results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    print(f"{cell}  OA {found['oa']:.3f}  mIoU {found['miou']:.3f}  {line['seconds']} s", flush=True)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


# --- what the results say ---------------------------------------------------------------------------------------------


def tables(results: Path) -> list[str]:
    """Means of each cell, and paired differences by question, as Markdown."""
    found = _read(results)
    lines: list[str] = []
    for side, (title, unit, asked) in SIDES.items():
        of = [one for one in found if one["cell"]["side"] == side]
        if of:
            lines += ["", f"**{title}**, {len(of)} of {asked} trainings", "", *_means(of)]
            # Others are compared with the trainings of the default settings that the real side has already.
            beside = [one for one in found if side == "rivals" and one["cell"]["side"] == "real"]
            lines += ["", *_questions([*of, *beside], side, unit)]
    return lines


def _means(of: Sequence[dict[str, Any]]) -> list[str]:
    rows = ["| method | loss | input | trainings | OA | mIoU | CORINE | ESRI |", "|---|---|---|---|---|---|---|---|"]
    for key in dict.fromkeys(_key(one) for one in of):
        ones = [one for one in of if _key(one) == key]
        values = [_mean([one.get(name) for one in ones]) for name in ("oa", "miou", "corine", "esri")]
        rows.append(f"| {' | '.join(key)} | {len(ones)} | {' | '.join(values)} |")
    return rows


def _key(one: dict[str, Any]) -> tuple[str, str, str]:
    cell = one["cell"]
    method = RIVALS.get(cell["method"], f"{cell['method']}, {cell['output']}")
    return method, "" if cell["method"] == "forest" else cell["loss"], cell["scaling"]


Side = dict[str, str]
"""What a cell must have to be of one side of a question."""


def _asked(side: str) -> list[tuple[str, Side, Side]]:
    """Question, ours, theirs."""
    if side == "output":
        return [("crop in place of resize", {"output": "crop"}, {"output": "resize"})]
    if side == "rivals":
        default = {"loss": "focal-pixel", "scaling": "linear", "method": MODEL}
        others = [("cross entropy", {**default, "loss": "ce"}), *((RIVALS[one], {"method": one}) for one in RIVALS)]
        return [(f"default settings against {name}", default, other) for name, other in others]
    return [
        ("pixel-scaled focal loss", {"loss": "focal-pixel"}, {"loss": "focal"}),
        ("cross entropy", {"loss": "ce"}, {"loss": "focal"}),
        ("logarithm", {"scaling": "log"}, {"scaling": "linear"}),
    ]


def _questions(of: Sequence[dict[str, Any]], side: str, unit: str) -> list[str]:
    """A row per question: difference to the paper's reading, averaged over the other factor, paired by ``unit``."""
    names = ("oa", "miou", "corine") if side in ("real", "rivals") else ("oa", "miou")
    rows = ["| question | score | difference | 95 % interval | p after Holm |", "|---|---|---|---|---|"]
    for name in names:
        each = [
            (title, paired.differences(of, ours, theirs, score=name, unit=unit)) for title, ours, theirs in _asked(side)
        ]
        adjusted = holm([paired.p_value(values) for _, values in each])
        for (title, values), p in zip(each, adjusted, strict=True):
            low, high = paired.interval(values)
            mean = f"{np.mean(values):+.3f}" if len(values) else "-"
            rows.append(f"| {title} | {name} | {mean} | {low:+.3f} to {high:+.3f} | {p:.3f} |")
    return rows


def _mean(values: Sequence[float | None]) -> str:
    known: NDArray[np.float64] = np.array([value for value in values if value is not None], dtype=float)
    return f"{known.mean():.3f}" if known.size else ""


def _read(results: Path) -> list[dict[str, Any]]:
    if not results.is_file():
        return []
    found = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines() if line]
    return [{**one, "cell": {"method": MODEL, **one["cell"]}} for one in found]


if __name__ == "__main__":
    main()
