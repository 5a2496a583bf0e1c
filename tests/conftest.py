"""Fixtures shared by the tests: tiles, data roots, real data."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dwplus import cli
from dwplus.pipeline.bands import SHARD_BANDS
from dwplus.pipeline.files import sha256_of, write_atomically
from dwplus.pipeline.ledger import Ledger, LedgerRow
from dwplus.pipeline.manifest import ManifestRow, write_manifest
from dwplus.pipeline.matching import SceneRef
from dwplus.pipeline.provenance import provenance
from dwplus.pipeline.recipe import Recipe
from dwplus.pipeline.shards import encode_shard, label_path, shard_path, write_label
from dwplus.pipeline.splits import make_manifest
from dwplus.pipeline.tiles import Tile
from numpy.typing import NDArray

Run = Callable[..., tuple[int, str, str]]
REAL_DATA = Path(__file__).resolve().parents[2] / "shared" / "realdata"


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


def make_tile(
    dw_id: str = "dw_9.0_45.0-20190701",
    *,
    crs: str = "EPSG:32632",
    x: float = 500000.0,
    y: float = 5000000.0,
    size: int = 8,
    biome: int = 4,
    day: date = date(2019, 7, 1),
) -> Tile:
    """A small tile whose upper left corner lies at (x, y)."""
    transform = (10.0, 0.0, x, 0.0, -10.0, y)
    return Tile(dw_id, crs, transform, (size, size), day, "EH", biome)


@pytest.fixture
def tile() -> Tile:
    return make_tile()


def make_pixels(size: int = 8, seed: int = 0) -> NDArray[np.uint16]:
    """Stored values of a shard without gaps: reflectance around 0.2, VV -12 dB, VH -19 dB, 30 observations."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(1500, 2500, (len(SHARD_BANDS), size, size), dtype=np.uint16)
    pixels[SHARD_BANDS.index("VV")] = rng.integers(8700, 8900, (size, size))
    pixels[SHARD_BANDS.index("VH")] = rng.integers(8000, 8200, (size, size))
    pixels[SHARD_BANDS.index("S1_N")] = 30
    return pixels


DataRoot = Callable[..., Path]


@pytest.fixture
def data_root(tmp_path: Path) -> DataRoot:
    """A function that lays out a data root of small tiles, as ``build`` would leave it before validation."""

    def lay_out(train: int = 4, test: int = 2, size: int = 8, source: str = "SANDBOX") -> Path:
        root = tmp_path / "data" / "sandbox"
        rows = []
        with Ledger(root) as ledger:
            for number in range(train + test):
                release = "train" if number < train else "test"
                # Three degrees apart: every tile has a validation block of its own.
                x, lon = 500000.0, 3.0 + 6 * number
                one = make_tile(
                    f"dw_{lon}_45.0-20190701", crs=f"EPSG:{32631 + number}", x=x, size=size, biome=1 + number % 14
                )
                codes = np.random.default_rng(number).integers(0, 11, (size, size), dtype=np.uint8)
                labeler = "expert" if release == "train" else "consensus"
                path = label_path(root, one, labeler)
                write_label(path, codes, one, {"LABELER": labeler})
                rows.append(
                    ManifestRow(
                        one, labeler, release, path.relative_to(root).as_posix(), sha256_of(codes.tobytes()), 0.8
                    )
                )
                pixels = make_pixels(size, seed=number)
                scene = SceneRef("COPERNICUS/S2_SR_HARMONIZED", "20190701T101031_20190701T101030_T32TNQ", "index")
                content = encode_shard(pixels, one, provenance(one, scene, Recipe(), pixels, source))
                write_atomically(shard_path(root, one), content)
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
        write_manifest(root, make_manifest(rows))
        return root

    return lay_out
