"""Alignment, measured: on a planet whose bands are planes, every pixel of a shard has a known value.

The whole way of a tile is run: the real client, a server of the API, the shard. S1 scenes lie on grids of their own off
the labels' 10 m lattice; S2 bands come at 10, 20 and 60 m.
"""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from dwplus.pipeline.bands import BANDS, S2_BANDS, decode
from dwplus.pipeline.errors import DwplusError
from dwplus.pipeline.export import make_shard
from dwplus.pipeline.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.manifest import ManifestRow
from dwplus.pipeline.scenes import Recipe
from dwplus.pipeline.session import connect
from dwplus.pipeline.shards import read_bands, shard_path
from dwplus.pipeline.sources import Configuration
from dwplus.pipeline.tiles import Tile
from numpy.typing import NDArray

OPTICAL = ("B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B11", "B12")
DN, DN_EAST, DN_NORTH, DN_BAND = 31_000.0, 6.0, 5.0, 100.0  # DN, DN per 10 m, DN between bands
DB, DB_EAST, DB_NORTH, DB_CROSS = -22.0, 0.05, 0.03, -4.0  # dB, dB per 10 m, VH above VV

TILES = {
    "north": Tile(
        "dw_-2.7415152153_5.6549699454-20181226", "EPSG:32630", (10.0, 0.0, 526080.0, 0.0, -10.0, 627620.0),
        (510, 510), date(2018, 12, 26), "EH", 1,
    ),
    "south": Tile(
        "dw_111.8412562864_-8.1289167721-20190713", "EPSG:32749", (10.0, 0.0, 590130.0, 0.0, -10.0, 9103900.0),
        (510, 510), date(2019, 7, 13), "EH", 1,
    ),
}  # fmt: skip


def centres(tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres east and north of the tile's middle, at each pixel's centre: float64 (H, W) twice."""
    height, width = tile.shape
    east = (np.arange(width) + 0.5 - width / 2) * 10
    north = (height / 2 - np.arange(height) - 0.5) * 10
    return np.broadcast_to(east, tile.shape), np.broadcast_to(north[:, None], tile.shape)


@pytest.fixture(scope="module", params=list(TILES))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tile, Path]:
    """A tile of the planet of planes, whose origin is the tile's middle, exported."""
    tile = TILES[request.param]
    x_min, y_min, x_max, y_max = tile.bounds
    false_northing = 10_000_000 if tile.crs.startswith("EPSG:327") else 0
    planet = {
        "kind": "planes",
        "origin_x": (x_min + x_max) / 2, "origin_y": (y_min + y_max) / 2 - false_northing,
        "dn": DN, "dn_east": DN_EAST, "dn_north": DN_NORTH, "dn_band": DN_BAND,
        "db": DB, "db_east": DB_EAST, "db_north": DB_NORTH, "db_cross": DB_CROSS,
    }  # fmt: skip
    root = tmp_path_factory.mktemp(request.param)
    with LocalEarthEngine(planet=planet, workers=1) as engine:
        found = Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
        row = ManifestRow(tile, "unknown", "inspect", "labels/x.tif", "0", 1.0)
        outcome = make_shard(row, pixels=connect(found), recipe=Recipe(), root=root)
    if outcome.state != "done":
        raise DwplusError(f"{tile.id}: {outcome}")
    return tile, shard_path(root, tile)


@pytest.mark.parametrize("band", S2_BANDS)
def test_sentinel_2_lies_on_the_label_within_one_dn(exported: tuple[Tile, Path], band: str) -> None:
    tile, path = exported
    east, north = centres(tile)
    expected = DN + DN_BAND * OPTICAL.index(band) + (DN_EAST * east + DN_NORTH * north) / 10

    stored = read_bands(path, (band,))[0].astype(np.float64)

    assert np.abs(stored - expected).max() <= 1.0, f"{band}, {BANDS[band].native_m} m"
    # The test has teeth: half a pixel to the east or the north is seen.
    assert np.abs(stored - expected - DN_EAST / 2).max() > 1.0
    assert np.abs(stored - expected - DN_NORTH / 2).max() > 1.0


@pytest.mark.parametrize(("band", "level"), [("VV", DB), ("VH", DB + DB_CROSS)])
def test_sentinel_1_lies_on_the_label_within_a_hundredth_of_a_decibel(
    exported: tuple[Tile, Path], band: str, level: float
) -> None:
    tile, path = exported
    east, north = centres(tile)
    expected = level + (DB_EAST * east + DB_NORTH * north) / 10

    decibel = decode(read_bands(path, (band,)), (band,))[0].astype(np.float64)

    # Half of the 0.01 comes from storing hundredths.
    assert np.abs(decibel - expected).max() <= 0.01
    assert np.abs(decibel - expected - DB_EAST / 2).max() > 0.01
    assert np.abs(decibel - expected - DB_NORTH / 2).max() > 0.01


def test_several_scenes_enter_the_mean_everywhere(exported: tuple[Tile, Path]) -> None:
    _, path = exported

    assert read_bands(path, ("S1_N",)).min() >= 3
