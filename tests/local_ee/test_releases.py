"""The sandbox's label releases: where its tiles are, and archives that read like the published ones."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import openpyxl
import pyproj
import pytest
import rasterio
import shapely
from dwplus.local_ee.catalogue.sites import SandboxTile, sandbox_tiles
from dwplus.local_ee.planet import noise
from dwplus.local_ee.planet.planet import make_planet
from dwplus.local_ee.releases import Releases, _product_id
from dwplus.local_ee.scene import Scene, SceneBand
from dwplus.manifests import load_csv
from dwplus.pipeline.files import archives
from dwplus.pipeline.labels import index
from dwplus.pipeline.labels.metadata import read_metadata
from dwplus.pipeline.raster import label_raster
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.pipeline.spec.tiles import parse_tile_id, region_names
from numpy.typing import NDArray
from rasterio.io import MemoryFile

DAY_MS = 86_400_000


class Sky:
    """A catalogue with one Sentinel-2 scene over any place every second day, and no Sentinel-1 north of 69 degrees."""

    collections = ("COPERNICUS/S2_SR_HARMONIZED", "COPERNICUS/S1_GRD")

    def find(
        self,
        collection: str,
        *,
        start_ms: int | None = None,
        end_ms: int | None = None,
        region: tuple[float, float, float, float] | None = None,
        **_: object,
    ) -> list[Scene]:
        assert start_ms is not None
        assert end_ms is not None
        assert region is not None
        days = range(start_ms // DAY_MS, -(-end_ms // DAY_MS))
        if collection == "COPERNICUS/S1_GRD":
            return [self._scene(collection, day, region) for day in days if region[1] < 69][:1]
        return [self._scene(collection, day, region) for day in days if day % 2 == int(abs(region[0])) % 2]

    def _scene(self, collection: str, day: int, region: tuple[float, float, float, float]) -> Scene:
        west, south, east, north = region
        zone = int((west + east) / 2 // 6 + 30) % 60 + 1
        time = datetime.fromtimestamp(day * 86_400, UTC)
        properties = {
            "system:time_start": day * DAY_MS + 1000,
            "instrumentMode": "IW",
            "transmitterReceiverPolarisation": ["VV", "VH"],
            "CLOUDY_PIXEL_PERCENTAGE": 5.0,
            "PRODUCT_ID": f"S2A_MSIL2A_{time:%Y%m%d}T103439_N0211_R108_T{zone:02d}NWM_{time:%Y%m%d}T131549",
        }
        band = SceneBand("B2", "uint16", f"EPSG:{32600 + zone}", (10, 0, 0, 0, -10, 0), (10980, 10980))
        footprint = ((west - 1, south - 1), (east + 1, south - 1), (east + 1, north + 1), (west - 1, north + 1))
        return Scene(
            collection, f"{time:%Y%m%d}T103439_{time:%Y%m%d}T103438_T{zone:02d}NWM", (band,), properties, footprint
        )


class CloudySky(Sky):
    """On cloudy days (of each four) clouds lie over the western part of every tile that is asked for."""

    def __init__(self, share: float, cloudy_days: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        self._share, self._cloudy_days = share, cloudy_days

    def is_cloudy(self, day: int) -> bool:
        return day % 4 in self._cloudy_days

    def _scene(self, collection: str, day: int, region: tuple[float, float, float, float]) -> Scene:
        clear = super()._scene(collection, day, region)
        band = SceneBand("MSK_CLDPRB", "uint8", clear.bands[0].crs, (20, 0, 0, 0, -20, 0), (5490, 5490))
        cover = 5.0 if self.is_cloudy(day) else 0.0
        return replace(clear, bands=(band,), properties={**clear.properties, "CLOUDY_PIXEL_PERCENTAGE": cover})

    def read(
        self, _scene: Scene, _band: str, rows: tuple[int, int], cols: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        values = np.zeros((rows[1] - rows[0], cols[1] - cols[0]), np.uint8)
        values[:, : int(values.shape[1] * self._share)] = 100
        return values, np.ones(values.shape, bool)


class Planet:
    """Annotators who paint by a hash of the name; the model is one class off in a tenth of the rows."""

    config = {"kind": "fake", "seed": 3}  # noqa: RUF012 - read, never changed

    def annotate(
        self, _crs: str, _transform: tuple[float, ...], shape: tuple[int, int], labeler: str, key: str
    ) -> NDArray[np.uint8]:
        codes = np.full(shape, 1 + noise.key(key) % 9, np.uint8)
        codes[: 5 if labeler == "expert" else 9] = 0
        return codes

    def model_labels(
        self, _crs: str, _transform: tuple[float, ...], shape: tuple[int, int], key: str
    ) -> NDArray[np.uint8]:
        return np.full(shape, noise.key(key) % 9, np.uint8)


@cache
def _tiles() -> tuple[SandboxTile, ...]:
    return tuple(sandbox_tiles(Sky(), 132, seed=3))


def _is_test(tile: SandboxTile) -> bool:
    return tile.annotators == ("consensus",)


# Where and when ------------------------------------------------------------------------------------------------------


def test_the_sandbox_has_90_training_and_42_test_tiles_over_the_world() -> None:
    tiles = _tiles()

    assert Counter(_is_test(t) for t in tiles) == {False: 90, True: 42}
    assert len({t.tile.id for t in tiles}) == 132
    for split in (True, False):
        chosen = [t.tile for t in tiles if _is_test(t) == split]
        assert {t.biome for t in chosen} == set(range(1, 15))
        assert {t.region for t in chosen} == set(region_names())


def test_test_tiles_are_published_ones() -> None:
    published = {row["dw_id"] for row in load_csv("test_409")}

    assert {t.tile.id for t in _tiles() if _is_test(t)} <= published
    assert not {t.tile.id for t in _tiles() if not _is_test(t)} & published


def test_tiles_lie_on_the_10_m_lattice_and_their_name_is_off_by_less_than_a_pixel() -> None:
    for tile in (t.tile for t in _tiles()):
        named = parse_tile_id(tile.id)
        assert tile.transform[2] % 10 == tile.transform[5] % 10 == 0
        assert tile.date == named.date
        x, y = pyproj.Transformer.from_crs("EPSG:4326", tile.crs, always_xy=True).transform(named.lon, named.lat)
        x_min, y_min, x_max, y_max = tile.bounds
        assert abs(x - (x_min + x_max) / 2) <= 5.01
        assert abs(y - (y_min + y_max) / 2) <= 5.01
        assert len(tile.id.split("_")[1].split(".")[1]) == 10


def test_training_tiles_keep_away_from_test_tiles_but_for_one_that_overlaps() -> None:
    published = [shapely.Point(float(r["lon"]), float(r["lat"])) for r in load_csv("test_409")]
    test = [shapely.Polygon(t.tile.outline) for t in _tiles() if _is_test(t)]
    overlapping = []
    for tile in (t for t in _tiles() if not _is_test(t)):
        if any(shapely.Polygon(tile.tile.outline).intersects(other) for other in test):
            overlapping.append(tile)
            continue
        lon, lat = tile.tile.centre
        stretch = np.cos(np.radians(lat))
        nearest_km = min(111 * np.hypot((p.x - lon) * stretch, p.y - lat) for p in published)
        assert 9.5 < nearest_km < 61

    assert len(overlapping) == 1


def test_experts_and_others_share_some_tiles() -> None:
    count = Counter(t.annotators for t in _tiles() if not _is_test(t))

    assert 50 <= count[("expert",)] + count[("expert", "non_expert")] <= 60
    assert count[("non_expert",)] >= 30
    assert count[("expert", "non_expert")] >= 5


def test_some_tiles_lack_what_real_ones_lack() -> None:
    sky, tiles = Sky(), _tiles()
    far_north = [t for t in tiles if t.tile.outline[0][1] >= 69 and t.scene is not None]
    no_scene = [t for t in tiles if t.scene is None]

    assert 1 <= len(far_north) <= 4
    assert Counter(_is_test(t) for t in no_scene) == {True: 1, False: 1}
    assert [t.marked for t in tiles if t.marked < 1] == [0.11]
    usable = [t for t in tiles if t.scene is not None and t not in far_north]
    assert sum(not _is_test(t) for t in usable) >= 72
    assert sum(_is_test(t) for t in usable) >= 30
    assert sky.find("COPERNICUS/S1_GRD", start_ms=0, end_ms=DAY_MS, region=(0, 70, 1, 71)) == []


def test_the_same_seed_gives_the_same_tiles_and_another_one_others() -> None:
    assert tuple(sandbox_tiles(Sky(), 132, seed=3)) == _tiles()
    assert {t.tile.id for t in sandbox_tiles(Sky(), 132, seed=4)} != {t.tile.id for t in _tiles()}


def test_a_small_sandbox_still_has_both_splits_and_all_regions() -> None:
    tiles = sandbox_tiles(Sky(), 12, seed=0)

    assert Counter(_is_test(t) for t in tiles) == {False: 8, True: 4}
    for split in (True, False):
        assert {t.tile.region for t in tiles if _is_test(t) == split} == set(region_names())


# Archives ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    return Releases(Planet(), 40, tmp_path_factory.mktemp("releases"), catalogue=Sky())


def _bytes(releases: Releases, path: str) -> bytes:
    opened = releases.open(path)
    assert opened is not None
    file, size, content_type = opened
    with file:
        content = file.read()
    assert len(content) == size
    assert content_type.startswith("application/")
    return content


def _archive(releases: Releases, path: str) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(_bytes(releases, path)))


def test_training_archives_have_the_published_layout(served: Releases) -> None:
    experts = _archive(served, "pangaea/Experts_tiles.zip")
    others = _archive(served, "pangaea/Non_expert_tiles.zip")
    name, *rest = [n for n in experts.namelist() if n.endswith(".tif")]

    assert len(rest) > 10
    assert all(n.startswith(("Experts/EH/", "Experts/WH/")) for n in (name, *rest))
    assert all(n.startswith("Non_expert/WorkForce/") for n in others.namelist() if n.endswith(".tif"))
    assert b"synthetic" in experts.read("SANDBOX.txt")
    with MemoryFile(experts.read(name)) as memory, memory.open() as raster:
        profile = raster.profile
        assert (profile["height"], profile["width"], profile["count"], profile["dtype"]) == (510, 510, 1, "uint8")
        assert (profile["compress"], raster.block_shapes, profile["nodata"]) == ("lzw", [(16, 510)], None)
        assert raster.descriptions == (None,)
        assert raster.colorinterp == (rasterio.enums.ColorInterp.gray,)
        assert 'PROJCS["WGS 84 / UTM zone' in raster.crs.to_wkt()


def test_the_test_archive_has_the_published_layout(served: Releases) -> None:
    archive = _archive(served, "zenodo/dw_test.zip")
    names = archive.namelist()
    label = next(n for n in names if "/label_dw_" in n)
    rows = list(csv.DictReader(io.StringIO(archive.read(next(n for n in names if n.endswith(".csv"))).decode())))

    assert len(rows) == sum("/label_" in n for n in names) == sum("/probs_" in n for n in names) == 13
    assert "." not in Path(label).name.removesuffix(".tif")
    assert f"dw_test/label_{rows[0]['filename']}.tif" in names
    assert all(row["s2_system_index"][:8] in ("", row["filename"][-8:]) for row in rows)
    with MemoryFile(archive.read(label)) as memory, memory.open() as raster:
        assert raster.descriptions == ("label", "lulc")
        assert raster.shape == (512, 512)
        model, consensus = raster.read()
        tile = next(t for t in served.tiles if t.tile.id.replace(".", "p") in label)
        named = tile.tile.id if tile.scene is None else tile.scene.index
        assert (model == noise.key(named) % 9).all()
        assert (consensus[9:] == 1 + noise.key(tile.tile.id) % 9).all()
    with MemoryFile(archive.read(label.replace("label_", "probs_"))) as memory, memory.open() as raster:
        probabilities = raster.read()
        assert raster.descriptions[5] == "shrub_and_scrub"
        assert probabilities.dtype == np.float32
        assert np.isnan(probabilities).any()
        np.testing.assert_allclose(probabilities[:, 100, 100].sum(), 1, rtol=1e-6)


def test_each_expert_of_a_test_tile_is_served_apart(served: Releases) -> None:
    names = [n for n in _archive(served, "pangaea-validation/validation_set_tiles.zip").namelist() if n.endswith("tif")]

    assert len(names) == 3 * sum(map(_is_test, served.tiles))
    assert {Path(name).parent.name for name in names} == {"Expert_1", "Expert_2", "Expert_3"}


def test_the_workbook_has_the_published_columns(served: Releases) -> None:
    content = _bytes(served, "pangaea/v1_dw_tile_metadata_for_public_release.xlsx")
    book = openpyxl.load_workbook(io.BytesIO(content), read_only=True)
    header, first, *_ = book["expert"].iter_rows(values_only=True)
    row = dict(zip(header, first, strict=True))

    assert {"expert", "non_expert"} <= set(book.sheetnames)
    assert header[:5] == ("dw_id", "labeler", "crs", "utm", "lon")
    assert row["dw_id"].endswith(row["date"].replace("-", ""))
    assert row["S2_PRODUCT_ID"].startswith("S2A_MSIL2A_")
    classes = [row[c] for c in header[13:]]
    assert len(classes) == 10
    assert sum(classes) == pytest.approx(1)


def test_archives_are_made_once_and_equal_byte_for_byte(served: Releases, tmp_path: Path) -> None:
    twin = Releases(Planet(), 40, tmp_path, catalogue=Sky())

    for path in served.paths:
        assert _bytes(served, path) == _bytes(twin, path)
    made = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()}
    _bytes(Releases(Planet(), 40, tmp_path, catalogue=Sky()), "zenodo/dw_test.zip")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.is_file()} == made


def test_annotators_mark_the_clouds_of_their_scene_or_leave_them_empty(tmp_path: Path) -> None:
    """A sixth of a tile under clouds: no class is there; some labelers mark cloud (10), others nothing (0)."""
    releases = Releases(Planet(), 40, tmp_path, catalogue=CloudySky(1 / 6))
    drawn = {t.tile.id: releases._codes(t, "expert") for t in releases.tiles if t.scene is not None}

    for codes in drawn.values():
        assert set(np.unique(codes[:, :80])) <= {0, 10}
        assert (codes[20:, 100:] == codes[20, 100]).all()
    marked = [bool((codes == 10).any()) for codes in drawn.values()]
    assert 0.4 < np.mean(marked) < 0.95


def test_training_days_are_clear_over_their_tile() -> None:
    sky = CloudySky(1 / 2, cloudy_days=(0, 1))

    days = [t.tile.date.toordinal() - 719_163 for t in sandbox_tiles(sky, 20, seed=3) if not _is_test(t) and t.scene]

    assert len(days) > 10
    assert not any(map(sky.is_cloudy, days))


def test_some_records_lack_the_name_of_their_scene(tmp_path: Path) -> None:
    releases = Releases(Planet(), 132, tmp_path, catalogue=Sky())
    names = [_product_id(t) for t in releases.tiles if t.scene is not None]

    assert 1 <= names.count(None) <= 10
    assert sum("_N0201_" in name for name in names if name) >= 3


def test_other_paths_are_not_served(served: Releases) -> None:
    assert served.open("pangaea/../secret") is None


def test_an_early_end_leaves_a_tile_nearly_unmarked(tmp_path: Path) -> None:
    releases = Releases(Planet(), 132, tmp_path, catalogue=Sky())
    tile = next(t for t in releases.tiles if t.marked < 1)

    assert DYNAMIC_WORLD.marked_share(releases._codes(tile, "expert")) == pytest.approx(0.11, abs=0.001)


def test_the_label_reader_takes_the_archives_as_it_takes_published_ones(served: Releases, tmp_path: Path) -> None:
    for path in (p for p in served.paths if "validation" not in p):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(_bytes(served, path))
        if path.endswith(".zip"):
            archives.extract(tmp_path / path, (tmp_path / path).with_suffix(""), skip=("probs_*",))
    metadata = read_metadata(tmp_path)
    found = index.index(tmp_path, metadata=metadata)

    expected = {(a, t.tile.id): t for t in served.tiles for a in t.annotators}
    assert {(t.labeler, t.tile_id) for t in found} == set(expected)
    for label in found:
        tile = expected[label.labeler, label.tile_id]
        raster = label_raster.read_label(label.path)
        a, b, c, d, e, f = tile.tile.transform
        margin = 10 if label.split == "test" else 0
        assert (raster.crs, raster.transform) == (tile.tile.crs, (a, b, c + margin, d, e, f - margin))
        assert (label.hemisphere, label.biome) == (tile.tile.hemisphere, tile.tile.biome)
        assert (
            metadata[label.labeler, label.tile_id].get("date", tile.tile.date.isoformat()) == tile.tile.date.isoformat()
        )


def test_the_synthetic_earth_serves_a_small_release(tmp_path: Path) -> None:
    releases = Releases(make_planet({"kind": "earth", "seed": 7}), 6, tmp_path)

    archive = _archive(releases, "pangaea/Experts_tiles.zip")

    assert Counter(_is_test(t) for t in releases.tiles) == {False: 4, True: 2}
    for name in (n for n in archive.namelist() if n.endswith(".tif")):
        tile = tmp_path / Path(name).name
        tile.write_bytes(archive.read(name))
        assert len(np.unique(label_raster.read_label(tile).codes)) > 1
