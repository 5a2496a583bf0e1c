"""What networks reach without one of their inputs, trained for it and not.

    python benchmarks/missing_modalities.py --data data/sandbox --runs DIR    trains what is not done, prints the table
    python benchmarks/missing_modalities.py --runs DIR --models none            the table of what is done

For each network and seed: trained as usual, with --drop-auxiliary and --drop-primary, and with --drop-views too (where
each view lacks all of its input: 1/3 of all that is computed), each scored with both inputs, without the auxiliary one
(Sentinel-1) and without the primary one (Sentinel-2). --trained names those that are wanted. Beside them
SegFormer on each input alone, with the same budget. Runs and scores are kept in DIR: what is there is not trained
again, and a training that was stopped is resumed. A training of the small SpecSAR-Former takes one to two minutes on a
free core, with views three times that.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from dwplus.model.missing import Shares
from dwplus.model.score import score
from dwplus.model.scores.document import scores_name
from dwplus.model.settings import profile
from dwplus.model.train import train
from dwplus.pipeline.dataset.samples import Dataset
from dwplus.pipeline.spec.bands import preset
from rigs import arguments

ABSENT_BAR, PRESENT_BAR = 0.02, 0.01
"""Points of mIoU (0..1) that may be lost to a network of the other input alone, and with both inputs present."""

CONDITIONS = {"both": Shares(), "no auxiliary": Shares(auxiliary=1.0), "no primary": Shares(primary=1.0)}


@dataclass(frozen=True)
class Trained:
    """One training.

    Attributes:
        name: of its row.
        model: in the registry.
        primary, auxiliary: presets of bands.
        drops: settings of what is lost in training.
        views: each crop is computed complete and once without each input.
    """

    name: str
    model: str
    primary: str = "ms10"
    auxiliary: str = "sar"
    drops: tuple[float, float] = (0.0, 0.0)
    views: bool = False

    @property
    def conditions(self) -> Sequence[str]:
        return tuple(CONDITIONS) if self.auxiliary else ("both",)

    def open(self, root: Path, split: str) -> Dataset:
        bands = preset(self.auxiliary) if self.auxiliary else ()
        return Dataset(root, split=split, primary=preset(self.primary), auxiliary=bands)


ALONE = (
    Trained("Sentinel-2 alone", "segformer-small", "ms10", ""),
    Trained("Sentinel-1 alone", "segformer-small", "sar", ""),
)


THIRD = 0.3333333
"""Of all that is computed in three views: each one lacks all of its input."""

WAYS = ("alone", "usual", "dropped", "views")


def rows(models: Sequence[str], ways: Sequence[str], drop: float) -> Iterator[Trained]:
    if "alone" in ways:
        yield from ALONE
    for model in models:
        found = {
            "usual": Trained(model, f"{model}-small"),
            "dropped": Trained(f"{model}, dropped", f"{model}-small", drops=(drop, drop)),
            "views": Trained(f"{model}, views", f"{model}-small", drops=(THIRD, THIRD), views=True),
        }
        yield from (row for way, row in found.items() if way in ways)


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--data", type=Path, help="data root of a sandbox; default: one is built")
    parser.add_argument("--runs", type=Path, help="folder of runs and scores; default: a temporary one")
    parser.add_argument("--models", default="specsar-former,cmx,cmnext", help="networks, or none")
    parser.add_argument("--trained", default=",".join(WAYS), help="which rows; alone: SegFormer on one input")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument(
        "--drop", type=float, default=0.25, help="share of the pixels that lose each input in training, without views"
    )
    parser.add_argument("--epochs", type=int, default=32, help="of each training, four crops a step")
    parser.add_argument("--crop", type=int, default=128, help="side of the crops, px")
    parser.add_argument("--threads", type=int, default=1)
    options = arguments.parse(parser, models="specsar-former", seeds="0", epochs=1, crop=32)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        runs = options.runs or Path(folder) / "runs"
        models = [] if options.models == "none" else options.models.split(",")
        if models:
            _train_all(options.data or _built(Path(folder)), runs, models, options)
        lines = table(runs)
        print("\n".join(lines))
    if not options.tiny and any(line.endswith("missed") for line in lines):
        sys.exit("missed: see the lines above")


def _built(folder: Path) -> Path:
    words = ["-m", "dwplus.cli", "build", "--source", "sandbox", "--tiles", "12", "--workers", "1", "-q"]
    subprocess.run([sys.executable, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "data" / "sandbox"


def _train_all(root: Path, runs: Path, models: Sequence[str], options: argparse.Namespace) -> None:
    for seed in (int(number) for number in options.seeds.split(",")):
        for row in rows(models, options.trained.split(","), options.drop):
            run = runs / row.name.replace(", ", "-").replace(" ", "-") / f"s{seed}"
            settings = _settings(row, seed, options)
            train(profile("sandbox", **settings), dataset_train=row.open(root, "train"), run_dir=run)
            _score(row, run, root)


def _settings(row: Trained, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    auxiliary, primary = row.drops
    return {
        "model": row.model,
        "seed": seed,
        "epochs": options.epochs,
        "crop_px": options.crop,
        "drop_auxiliary": auxiliary,
        "drop_primary": primary,
        "drop_views": row.views,
    }


def _score(row: Trained, run: Path, root: Path) -> None:
    """Score a run under every condition; its row is written last."""
    found, source = {}, ""
    for name in row.conditions:
        path = run / scores_name("test", drop=str(CONDITIONS[name]))
        if not path.is_file():
            score(run, row.open(root, "test"), workers=0, drop=CONDITIONS[name])
        document = json.loads(path.read_text(encoding="utf-8"))
        found[name], source = document["miou"], document["source"]
    words = ", ".join(f"{name} {miou:.3f}" for name, miou in found.items())
    print(f"{row.name}, seed {run.name[1:]}: mIoU {words}", flush=True)
    (run / "row.json").write_text(
        json.dumps({"name": row.name, "seed": int(run.name[1:]), "source": source, "miou": found}), encoding="utf-8"
    )


# --- what the results say ---------------------------------------------------------------------------------------------

BySeed = dict[str, dict[int, dict[str, float]]]
"""Name of a row -> seed -> condition -> mIoU."""


def table(runs: Path) -> list[str]:
    """Mean mIoU of each training over its seeds, in percent, as Markdown; then what stands against the bars."""
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(runs.glob("*/s*/row.json"))]
    found: BySeed = {}
    for one in documents:
        found.setdefault(one["name"], {})[one["seed"]] = one["miou"]
    sources = ", ".join(sorted({one["source"] for one in documents}))
    lines = [
        "",
        f"mIoU on test tiles, {sources} pixels",
        "",
        f"| trained | seeds | {' | '.join(CONDITIONS)} |",
        f"|---|---|{'---|' * len(CONDITIONS)}",
    ]
    for name, by_seed in found.items():
        cells = [_mean([one[condition] for one in by_seed.values() if condition in one]) for condition in CONDITIONS]
        lines.append(f"| {name} | {', '.join(map(str, sorted(by_seed)))} | {' | '.join(cells)} |")
    return [*lines, "", *_against_bars(found)]


def _mean(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {100 * np.std(values, ddof=1):.1f}" if len(values) > 1 else ""
    return f"{100 * np.mean(values):.1f}{spread}"


def _against_bars(found: BySeed) -> Iterator[str]:
    """Mean differences in points of mIoU over the seeds that both have."""
    for name, ours in found.items():
        plain, _, trained = name.rpartition(", ")
        asked = (
            ("with both inputs", plain, "both", PRESENT_BAR),
            ("without Sentinel-1", ALONE[0].name, "no auxiliary", ABSENT_BAR),
            ("without Sentinel-2", ALONE[1].name, "no primary", ABSENT_BAR),
        )
        for words, other, condition, bar in asked if trained in ("dropped", "views") else ():
            theirs = found.get(other, {})
            seeds = sorted(ours.keys() & theirs.keys())
            if seeds:
                gain = float(np.mean([ours[seed][condition] - theirs[seed]["both"] for seed in seeds]))
                verdict = "met" if gain >= -bar else "missed"
                yield f"{name}, {words}: {100 * gain:+.1f} points against {other}, bar {-100 * bar:.0f}: {verdict}"


if __name__ == "__main__":
    main()
