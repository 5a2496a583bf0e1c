"""A data root of small tiles that nobody built."""

import shutil
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from dwplus.pipeline.build.build import normalise_root, validate_root
from dwplus.pipeline.build.provenance import provenance
from dwplus.pipeline.cluster import in_process
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.manifest import ManifestRow, write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.scene_choice import SceneRef
from dwplus.pipeline.files.atomic import sha256_of, write_atomically
from dwplus.pipeline.labels.splits import make_manifest
from dwplus.pipeline.progress import Silent
from dwplus.pipeline.raster.geotiff import encode_shard, label_name, write_label
from dwplus.pipeline.spec.recipe import Recipe

from support.tiles import make_pixels, make_tile


def lay_out_root(folder: Path, train: int = 4, test: int = 2, size: int = 8, source: str = "SANDBOX") -> DataRoot:
    """Manifest, ledger, labels and shards of small tiles, as ``build`` would leave them before validation."""
    root = DataRoot.at(folder)
    rows = []
    with root.open_ledger() as ledger:
        for number in range(train + test):
            release = "train" if number < train else "test"
            # Three degrees apart: every tile has a validation block of its own.
            x, lon = 500000.0, 3.0 + 6 * number
            one = make_tile(
                f"dw_{lon}_45.0-20190701", crs=f"EPSG:{32631 + number}", x=x, size=size, biome=1 + number % 14
            )
            codes = np.random.default_rng(number).integers(0, 11, (size, size), dtype=np.uint8)
            labeler = "expert" if release == "train" else "consensus"
            label = label_name(one, labeler)
            written = write_label(root.folder / label, codes, one, {"LABELER": labeler})
            released = sha256_of(codes.tobytes())
            rows.append(ManifestRow(one, labeler, release, label, released, 0.8, label_written_sha256=written))
            pixels = make_pixels(size, seed=number)
            scene = SceneRef("COPERNICUS/S2_SR_HARMONIZED", "20190701T101031_20190701T101030_T32TNQ", "index")
            content = encode_shard(pixels, one, provenance(one, scene, Recipe(), pixels, source))
            write_atomically(root.own_shard(one), content)
            ledger.append(
                LedgerRow(
                    one.id, "done", source=source, recipe=Recipe().hash, bytes=len(content), sha256=sha256_of(content)
                )
            )
    write_manifest(root.folder, make_manifest(rows))
    return root


def lay_out_ready_root(folder: Path, train: int = 4, test: int = 2, size: int = 8, source: str = "SANDBOX") -> DataRoot:
    """The same, validated and with statistics: a copy of one that is prepared once in each process."""
    shutil.copytree(_model(train, test, size, source).name, folder)
    return DataRoot.at(folder)


@cache
def _model(*what: Any) -> TemporaryDirectory[str]:
    folder = TemporaryDirectory(prefix="dwplus-tests-")
    root = lay_out_root(Path(folder.name), *what)
    validate_root(root, run=in_process, progress=Silent())
    normalise_root(root, run=in_process, progress=Silent())
    return folder
