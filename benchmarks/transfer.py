"""What weights trained before are worth where labels are few.

    python benchmarks/transfer.py [--data data/sandbox] [--share 0.1] [--seeds 3] [--steps 150] [--before 300]

Sets a share of the sandbox's training tiles apart, pretrains on the other ones that share no block of 2 degrees with
these, the validation or the test tiles, then trains on the share: from scratch and with the pretrained weights, with
each seed. Prints as Markdown the mIoU of each run on the test tiles and the mean difference. Without --data it builds a
sandbox of 132 tiles first. Takes about fifteen minutes on two cores, the build not counted.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from dwplus.model.label_share import class_pixels, some_of, stratified_order
from dwplus.model.loader import TileSet
from dwplus.model.score import score
from dwplus.model.settings import profile
from dwplus.model.train import train
from dwplus.model.transfer import places_of, sharing_blocks
from dwplus.pipeline.dataset.samples import Dataset
from rigs import arguments

BAR = 0.05
"""Points of mIoU (0..1) that weights trained before have to add."""


def main() -> None:
    parser = arguments.parser(__doc__)
    parser.add_argument("--data", type=Path, help="data root of a sandbox; default: one is built")
    parser.add_argument("--tiles", type=int, default=132, help="tiles of the sandbox that is built")
    parser.add_argument("--share", type=float, default=0.1, help="of the training tiles, to train on")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150, help="of each training on the share")
    parser.add_argument("--before", type=int, default=300, help="steps of the pretraining")
    parser.add_argument("--crop", type=int, default=128, help="side of the crops, px")
    options = arguments.parse(parser, tiles=12, seeds=1, steps=2, before=2, crop=64)
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or _built(Path(folder), options.tiles)
        _compare(root, Path(folder) / "runs", options)


def _built(folder: Path, tiles: int) -> Path:
    words = ["-m", "dwplus.cli", "build", "--source", "sandbox", "--tiles", str(tiles), "--workers", "1", "-q"]
    subprocess.run([sys.executable, *words], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return folder / "data" / "sandbox"


def _compare(root: Path, runs: Path, options: Any) -> None:
    few, others = _parts(root, options.share)
    print(
        f"{len(others)} tiles to pretrain on, {len(few)} to train on, seeds 0 to {options.seeds - 1}", file=sys.stderr
    )
    before = _train(others, runs / "before", steps=options.before, crop_px=options.crop, seed=100)
    test = Dataset(root, split="test")
    found: dict[str, list[float]] = {"from scratch": [], "with --init": []}
    for seed in range(options.seeds):
        for name, changes in (("from scratch", {}), ("with --init", {"init": str(before)})):
            run_dir = runs / f"{name.split()[-1].strip('-')}-{seed}"
            _train(few, run_dir, steps=options.steps, crop_px=options.crop, seed=seed, **changes)
            scores = score(run_dir, test, workers=0)
            found[name].append(scores.matrix.miou)
            print(f"  {name}, seed {seed}: mIoU {scores.matrix.miou:.3f}", file=sys.stderr)
    print(f"| begin | mean mIoU | seeds 0 to {options.seeds - 1} |\n|---|---|---|")
    for name, values in found.items():
        print(f"| {name} | {np.mean(values):.3f} | {', '.join(f'{value:.3f}' for value in values)} |")
    gain = float(np.mean(found["with --init"]) - np.mean(found["from scratch"]))
    planet = test.root.planet()
    version = "" if planet is None else f", version {planet['version']} of the planet"
    print(f"\nGain by --init: {100 * gain:+.1f} points of mIoU{version}; {len(few)} tiles, {len(others)} before.")
    if not options.tiny and gain < BAR:
        sys.exit(f"missed: {100 * gain:.1f} points, the bar is {100 * BAR:.0f}")


def _parts(root: Path, share: float) -> tuple[TileSet, TileSet]:
    """The share of the training tiles to train on, and those to pretrain on."""
    tiles = Dataset(root, split="train")
    order = stratified_order(class_pixels(tiles, range(len(tiles))), [tile.id for tile in tiles.tiles])
    count = max(1, round(share * len(tiles)))
    few, rest = sorted(order[:count]), sorted(order[count:])
    held_out = [tiles.tiles[i] for i in few]
    for split in ("val", "test"):
        held_out += [row.tile for row in tiles.root.manifest().of_split(split, "strict")]
    close = set(sharing_blocks(places_of(tiles.tiles), held_out))
    return some_of(tiles, few), some_of(tiles, [i for i in rest if tiles.tiles[i].id not in close])


def _train(tiles: TileSet, run_dir: Path, **settings: Any) -> Path:
    return train(profile("small", workers=0, **settings), dataset_train=tiles, run_dir=run_dir)


if __name__ == "__main__":
    main()
