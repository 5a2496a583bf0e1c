"""Alignment, measured: on a planet whose bands are planes, every pixel of a shard has a known value.

The whole way of a tile is run: the real client, a server of the API, the shard. S1 scenes lie on grids of their own off
the labels' 10 m lattice; S2 bands come at 10, 20 and 60 m.
"""

from datetime import date
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from dwplus.local_ee.launch import LocalEarthEngine
from dwplus.pipeline.build.export import make_shard
from dwplus.pipeline.dataset.manifest import ManifestRow
from dwplus.pipeline.dataset.root import DataRoot
from dwplus.pipeline.earthengine.configuration import Configuration
from dwplus.pipeline.earthengine.connection import connect
from dwplus.pipeline.errors import DwplusError
from dwplus.pipeline.raster.geotiff import read_bands, read_header
from dwplus.pipeline.spec.bands import BANDS, S2_BANDS, decode
from dwplus.pipeline.spec.recipe import Recipe
from dwplus.pipeline.spec.tiles import Tile
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
    # Over the eastern edge of granule T49MEM, which ends at 609,780 m: after 278 columns.
    "two granules": Tile(
        "dw_112.01_-8.13-20190713", "EPSG:32749", (10.0, 0.0, 607000.0, 0.0, -10.0, 9103900.0),
        (510, 510), date(2019, 7, 13), "EH", 1,
    ),
}  # fmt: skip
# A real tile, named by the granule below it, which holds its lower rows only; 60 m pixels of the two are not in step.
TILES["two granules, one below the other"] = TILES["south"]


class Straddling(NamedTuple):
    """How a tile over two granules is named, and what has to come of it."""

    hint: dict[str, str]
    rule: str
    granules: tuple[str, str]
    seam: tuple[slice | int, ...]


STRADDLING = {
    "two granules": Straddling(
        {"s2_index": "20190713T023559_20190713T025403_T49MEM"}, "index", ("49MEM", "49MFM"), (slice(None), 278)
    ),
    # The id of another archive's copy, processed anew.
    "two granules, one below the other": Straddling(
        {"s2_product_id": "S2B_MSIL2A_20190713T023559_R089_T49LEL_20201005T132959"},
        "sensing-time",
        ("49LEL", "49MEM"),
        (390,),  # T49LEL begins at 9,100,000 m
    ),
}


class Exported(NamedTuple):
    name: str
    tile: Tile
    path: Path


def centres(tile: Tile) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Metres east and north of the tile's middle, at each pixel's centre: float64 (H, W) twice."""
    height, width = tile.shape
    east = (np.arange(width) + 0.5 - width / 2) * 10
    north = (height / 2 - np.arange(height) - 0.5) * 10
    return np.broadcast_to(east, tile.shape), np.broadcast_to(north[:, None], tile.shape)


@pytest.fixture(scope="module", params=list(TILES))
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
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
    root = DataRoot.at(tmp_path_factory.mktemp("root"))
    named = STRADDLING[request.param].hint if request.param in STRADDLING else {}
    with LocalEarthEngine(planet=planet, workers=1) as engine:
        found = Configuration(url=engine.url, project=engine.project, credentials_file=engine.credentials_file)
        row = ManifestRow(tile, "unknown", "inspect", "labels/x.tif", "0", 1.0, **named)
        outcome = make_shard(row, pixels=connect(found), recipe=Recipe(), root=root)
    if outcome.state != "done":
        raise DwplusError(f"{tile.id}: {outcome}")
    return Exported(request.param, tile, root.shard(tile))


@pytest.mark.parametrize("band", S2_BANDS)
def test_sentinel_2_lies_on_the_label_within_one_dn(exported: Exported, band: str) -> None:
    name, tile, path = exported
    east, north = centres(tile)
    expected = DN + DN_BAND * OPTICAL.index(band) + (DN_EAST * east + DN_NORTH * north) / 10

    stored = read_bands(path, (band,))[0].astype(np.float64)
    if name in STRADDLING:
        # Half a native pixel beyond its edge a granule still has a value, without one neighbour to interpolate with.
        half = BANDS[band].native_m // 20 + 1
        assert np.abs(stored - expected).max() <= (DN_EAST + DN_NORTH) * half
        *before, at = STRADDLING[name].seam
        seam = (*before, slice(at - half, at + half))
        expected[seam] = stored[seam]

    assert np.abs(stored - expected).max() <= 1.0, f"{band}, {BANDS[band].native_m} m"
    # The test has teeth: half a pixel to the east or the north is seen.
    assert np.abs(stored - expected - DN_EAST / 2).max() > 1.0
    assert np.abs(stored - expected - DN_NORTH / 2).max() > 1.0


@pytest.mark.parametrize(("band", "level"), [("VV", DB), ("VH", DB + DB_CROSS)])
def test_sentinel_1_lies_on_the_label_within_a_hundredth_of_a_decibel(
    exported: Exported, band: str, level: float
) -> None:
    _, tile, path = exported
    east, north = centres(tile)
    expected = level + (DB_EAST * east + DB_NORTH * north) / 10

    decibel = decode(read_bands(path, (band,)), (band,))[0].astype(np.float64)

    # Half of the 0.01 comes from storing hundredths.
    assert np.abs(decibel - expected).max() <= 0.01
    assert np.abs(decibel - expected - DB_EAST / 2).max() > 0.01
    assert np.abs(decibel - expected - DB_NORTH / 2).max() > 0.01


def test_several_scenes_enter_the_mean_everywhere(exported: Exported) -> None:
    assert read_bands(exported.path, ("S1_N",)).min() >= 3


def test_a_tile_over_two_granules_is_made_from_both(exported: Exported) -> None:
    tags = read_header(exported.path).tags
    scenes = tags["S2_SCENES"].split(" ")

    assert tags["S2_COVERED_SHARE"] == "1.0000"
    if exported.name in STRADDLING:
        expected = STRADDLING[exported.name]
        assert tuple(index[-5:] for index in scenes) == expected.granules
        assert len({index.split("_")[0] for index in scenes}) == 1  # one data take
        assert tags["S2_RULE"] == expected.rule
    else:
        assert len(scenes) == 1
