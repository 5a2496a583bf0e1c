"""What do networks reach on real imagery, in folds by Sentinel-2 scene, beside a forest on single pixels?

    python benchmarks/real_imagery.py CHIPS [--folds 5] [--seeds 0] [--only 0,1] [--write docs/real-imagery.md]

CHIPS holds real Sentinel-1 and Sentinel-2 chips with labels (see ``rigs/real_chips.py``). For each fold a data set is
made by ``dwplus labels add``, ``pixels add`` and ``build``; a network is trained (profile ``small``) and scored on
the fold; a random forest of scikit-learn sees the same pixels. Prints OA and mIoU of each fold and of all folds
together. About five minutes for each fold and seed on two cores.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from dwplus.pipeline.dataset.samples import Dataset
from numpy.typing import NDArray
from rigs import arguments, real_chips, real_scores, rivals


@dataclass(frozen=True)
class Result:
    """What one method reached on one fold: truth in rows, prediction in columns."""

    fold: int
    method: str
    counts: NDArray[np.int64]


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument(
        "chips", type=Path, nargs="?", help="folder of real chips; made-up ones in its place with --tiny"
    )
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", default="", help="these folds alone, such as 0,3")
    parser.add_argument("--seeds", default="0", help="seeds of the network, such as 0,1,2")
    parser.add_argument("--model", default="specsar-former-small")
    parser.add_argument("--steps", type=int, default=None, help="of the training; default: those of the profile")
    parser.add_argument("--write", type=Path, help="write the page of results here")
    options = arguments.parse(parser, folds=3, only="0", steps=3)
    arguments.need("sklearn", "pip install scikit-learn")
    with tempfile.TemporaryDirectory() as place:
        folder = options.chips or real_chips.made_up_chips(Path(place) / "made")
        if options.chips is None and not options.tiny:
            parser.error("name the folder of chips")
        chips = real_chips.chips_of(folder)
        folds = real_chips.folds_by_scene(chips, options.folds)
        chosen = [int(n) for n in options.only.split(",") if n] or range(len(folds))
        results = []
        for number in chosen:
            found = _fold(number, folds, options, Path(place) / f"fold{number}")
            results += found
            for one in found:
                print(f"fold {one.fold}  {one.method:<28} {_as_text(one.counts)}", flush=True)
    rows = _rows(results)
    print("\n".join(rows))
    if options.write:
        options.write.write_text(_page(options, chips, folds, rows), encoding="utf-8")


def _fold(
    number: int, folds: Sequence[Sequence[real_chips.Chip]], options: argparse.Namespace, folder: Path
) -> list[Result]:
    """Train and score on one fold; the next one validates."""
    splits = real_chips.splits_of(folds, number)
    real_chips.data_set([chip for fold in folds for chip in fold], splits, folder)
    data = folder / "data"
    found = [Result(number, "forest on single pixels", _forest(data))]
    settings = ["--profile", "small", "--set", "workers=0"]
    settings += [] if options.steps is None else ["--set", f"steps={options.steps}"]
    for seed in options.seeds.split(","):
        name = f"seed-{seed}"
        model = options.model
        real_chips.run(
            "train", "--data", str(data), "--model", model, "--name", name, "--set", f"seed={seed}", *settings, "-q"
        )
        real_chips.run("score", str(data / "runs" / name), "--data", str(data), "-q")
        counts = json.loads((data / "runs" / name / "scores.json").read_text())["matrix"]["counts"]
        found.append(Result(number, f"{model}, seed {seed}", np.array(counts, dtype=np.int64)))
    return found


def _forest(data: Path) -> NDArray[np.int64]:
    """Confusion matrix of a forest on single pixels: ten bands of Sentinel-2, VV and VH."""
    train, test = (Dataset(data, split=split) for split in ("train", "test"))
    return real_scores.matrix_of(rivals.forest(train, test, seed=0), test)


def _scores(counts: NDArray[np.int64]) -> tuple[float, float]:
    """(OA, mIoU over the classes that occur), 0..1."""
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    return float(hits.sum() / max(1, counts.sum())), float(np.mean(hits[union > 0] / union[union > 0]))


def _as_text(counts: NDArray[np.int64]) -> str:
    accuracy, iou = _scores(counts)
    return f"OA {accuracy:.3f}  mIoU {iou:.3f}"


def _rows(results: Sequence[Result]) -> list[str]:
    """A Markdown table: a row per method, its folds together."""
    rows = ["| method | folds | OA | mIoU | OA of each fold |", "|---|---|---|---|---|"]
    for method in dict.fromkeys(one.method for one in results):
        of = [one for one in results if one.method == method]
        accuracy, iou = _scores(sum((one.counts for one in of), np.zeros_like(of[0].counts)))
        each = ", ".join(f"{_scores(one.counts)[0]:.3f}" for one in of)
        rows.append(f"| {method} | {len(of)} | {accuracy:.3f} | {iou:.3f} | {each} |")
    return rows


def _page(
    options: argparse.Namespace, chips: Sequence[object], folds: Sequence[Sequence[object]], rows: Sequence[str]
) -> str:
    sizes = ", ".join(str(len(fold)) for fold in folds)
    table = "\n".join(rows)
    steps = options.steps or "as in the profile"
    return f"""# Real imagery

{len(chips)} chips with real Sentinel-1 and Sentinel-2 pixels, {len(folds)} folds by Sentinel-2 scene ({sizes} chips):
the chips of one scene are never on both sides. Made by `benchmarks/real_imagery.py`, which runs the commands of
[own-labels.md](own-labels.md) and [own-pixels.md](own-pixels.md); nothing of the chips is in this repository.

Labels are those of a model, Sentinel-1 is one date and not a yearly mean, and the chips are few: the table says whether
the commands work on real files and whether a network learns from them, not how good a network is. Profile `small`,
steps: {steps}.

{table}
"""


if __name__ == "__main__":
    main()
