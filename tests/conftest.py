"""Fixtures shared by the tests: tiles, data roots, real data."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from dwplus import cli
from dwplus.pipeline.build.provenance import provenance
from dwplus.pipeline.dataset.ledger import LedgerRow
from dwplus.pipeline.dataset.manifest import ManifestRow, write_manifest
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.scene_choice import SceneRef
from dwplus.pipeline.files.atomic import sha256_of, write_atomically
from dwplus.pipeline.labels.splits import make_manifest
from dwplus.pipeline.raster.geotiff import encode_shard, label_name, write_label
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import Tile
from support.fixture_types import LayOut, Run
from support.paths import REAL_DATA
from support.tiles import make_pixels, make_tile


@pytest.fixture(scope="session")
def real_data() -> Path:
    if not REAL_DATA.is_dir():
        pytest.skip("real label tiles and scenes are not on this machine (shared/realdata)")
    return REAL_DATA


@pytest.fixture
def dwplus(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command line in an empty folder of this process: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["dwplus", *arguments])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture
def dwplus_unconfigured(dwplus: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """The same on a machine where nothing of Earth Engine is configured."""
    for name in ("EE_URL", "EE_PROJECT_ID", "EARTHENGINE_PROJECT", "GOOGLE_APPLICATION_CREDENTIALS", "DWPLUS_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return dwplus


@pytest.fixture
def tile() -> Tile:
    return make_tile()


@pytest.fixture
def data_root(tmp_path: Path) -> LayOut:
    """A function that lays out a data root of small tiles, as ``build`` would leave it before validation."""

    def lay_out(train: int = 4, test: int = 2, size: int = 8, source: str = "SANDBOX") -> DataRoot:
        root = DataRoot.at(tmp_path / "data" / "sandbox")
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
                        one.id,
                        "done",
                        source=source,
                        recipe=Recipe().hash,
                        bytes=len(content),
                        sha256=sha256_of(content),
                    )
                )
        write_manifest(root.folder, make_manifest(rows))
        return root

    return lay_out
