"""Make the small data root and run that ``test_old_root.py`` reads: files exactly as revision 570e528 wrote them.

    git worktree add ../before 570e528 && cd ../before && make setup
    .venv/bin/python ../dwplus/tests/old_root/make.py ../dwplus/tests/old_root

Runs against that revision alone (its modules are imported by the names they had then). Writes ``root/`` below the
folder named: eight tiles of 32 px, validated and normalised, and one run of two epochs with its scores.
"""

import sys
from datetime import date
from pathlib import Path

import numpy as np
from dwplus.model.score import score
from dwplus.model.settings import TrainConfig
from dwplus.model.train import train
from dwplus.pipeline.bands import SHARD_BANDS
from dwplus.pipeline.build import normalise_root, validate_root
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset import Dataset
from dwplus.pipeline.export import provenance
from dwplus.pipeline.files import sha256_of, write_atomically, write_json
from dwplus.pipeline.ledger import Ledger, LedgerRow
from dwplus.pipeline.manifest import ManifestRow, write_manifest
from dwplus.pipeline.matching import SceneRef
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.scenes import Recipe
from dwplus.pipeline.shards import encode_shard, label_path, shard_path, write_label
from dwplus.pipeline.splits import make_manifest
from dwplus.pipeline.tiles import Tile

SIZE = 32
SCENE = SceneRef("COPERNICUS/S2_SR_HARMONIZED", "20190701T101031_20190701T101030_T32TNQ", "index")


def lay_out(root: Path) -> None:
    rows = []
    with Ledger(root) as ledger:
        for number in range(8):
            release, labeler = ("train", "expert") if number < 5 else ("test", "consensus")
            lon = 3.0 + 6 * number
            grid = (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0)
            crs, day = f"EPSG:{32631 + number}", date(2019, 7, 1)
            tile = Tile(f"dw_{lon}_45.0-20190701", crs, grid, (SIZE, SIZE), day, "EH", 1 + number % 14)
            rng = np.random.default_rng(number)
            codes = np.kron(rng.integers(0, 11, (4, 4)), np.ones((8, 8))).astype(np.uint8)
            pixels = rng.integers(1500, 2500, (len(SHARD_BANDS), SIZE, SIZE), dtype=np.uint16)
            pixels[:11] += 300 * codes.astype(np.uint16)
            pixels[11:13] = np.array([8800, 8100])[:, None, None] + rng.integers(-99, 100, (2, SIZE, SIZE))
            pixels[13] = 30
            path = label_path(root, tile, labeler)
            write_label(path, codes, tile, {"LABELER": labeler})
            label = path.relative_to(root).as_posix()
            rows.append(ManifestRow(tile, labeler, release, label, sha256_of(codes.tobytes()), 0.9))
            content = encode_shard(pixels, tile, provenance(tile, SCENE, Recipe(), pixels, "SANDBOX"))
            write_atomically(shard_path(root, tile), content)
            done = {"recipe": Recipe().hash, "bytes": len(content), "sha256": sha256_of(content)}
            ledger.append(LedgerRow(tile.id, "done", source="SANDBOX", **done))
    write_manifest(root, make_manifest(rows))
    write_json(root / "recipe.json", {"hash": Recipe().hash})


def main() -> None:
    root = Path(sys.argv[1]) / "root"
    lay_out(root)
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    narrow = {"widths": (8, 8, 16, 16), "heads": (1, 1, 2, 2), "decoder_width": 8}
    settings = TrainConfig(
        "specsar-former-small", narrow, epochs=2, batch=2, batch_per_device=2, workers=0, device="cpu"
    )
    splits = {f"dataset_{name}": Dataset(root, split=name) for name in ("train", "val")}
    run = train(settings, **splits, run_dir=root / "runs" / "small")
    score(run, Dataset(root, split="test"), workers=0, device="cpu")


if __name__ == "__main__":
    main()
