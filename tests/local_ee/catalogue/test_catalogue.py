"""The catalogue: real names and grids, searches by time, place and id, masks at the edge of the swath."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from dwplus.local_ee.catalogue import mgrs, sentinel2
from dwplus.local_ee.catalogue.catalogue import Catalogue
from dwplus.local_ee.planet import noise
from dwplus.local_ee.planet.earth import EarthPlanet
from dwplus.local_ee.planet.plane_planet import PlanePlanet
from dwplus.local_ee.scene import Scene, SceneSource, TooManyScenesError
from dwplus.pipeline.spec.tiles import parse_tile_id
from pyproj import Transformer
from shapely.geometry import Point, Polygon, box

S2 = "COPERNICUS/S2_SR_HARMONIZED"
S1 = "COPERNICUS/S1_GRD"
DAY_MS = 86_400_000

REAL_TILES = (
    "dw_-2.7415152153_5.6549699454-20181226",
    "dw_-3.4095852505_5.5380582684-20181226",
    "dw_111.8412562864_-8.1289167721-20190713",
)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(EarthPlanet(seed=7))


def ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000


def around(lon: float, lat: float, half: float = 0.023) -> tuple[float, float, float, float]:
    return lon - half, lat - half, lon + half, lat + half


def of_year(catalogue: Catalogue, collection: str, lon: float, lat: float, year: int = 2019) -> list[Scene]:
    start, end = ms(date(year, 1, 1)), ms(date(year, 12, 27))
    return catalogue.find(collection, start_ms=start, end_ms=end, region=around(lon, lat))


# Names and grids ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "crs", "origin"),
    [
        ("49MEM", "EPSG:32749", (499_980, 9_200_020)),
        ("31TCJ", "EPSG:32631", (300_000, 4_900_020)),
        ("34HCH", "EPSG:32734", (300_000, 6_300_040)),
    ],
)
def test_granules_stand_where_the_real_ones_do(name: str, crs: str, origin: tuple[int, int]) -> None:
    granule = mgrs.named(name)

    assert granule is not None
    assert (granule.name, granule.crs, granule.origin) == (name, crs, origin)


def test_granules_near_norway_and_the_date_line_follow_the_exceptions() -> None:
    """Bergen lies in zone 32 although 5.3 E is in zone 31; Fiji is seen from zones 60 and 1."""
    assert {g.zone for g in mgrs.granules_in(around(5.3, 60.4))} == {32}
    assert {g.zone for g in mgrs.granules_in((179.9, -16.5, 180.1, -16.4))} == {1, 60}


def test_unknown_granules_are_none() -> None:
    assert [mgrs.named(name) for name in ("", "61MEM", "49IEM", "49MIM", "99999")] == [None] * 5


def test_a_real_scene_has_its_real_names(catalogue: Catalogue) -> None:
    """S2A_MSIL2A_20190101T082331_N0211_R121_T34HCH_20190101T112242: all but the times of processing."""
    start = ms(date(2019, 1, 1))
    found = catalogue.find(S2, start_ms=start, end_ms=start + DAY_MS, region=around(19.3, -34.0, 0.01))

    (scene,) = (item for item in found if item.properties["MGRS_TILE"] == "34HCH")
    assert re.fullmatch(r"20190101T082331_20190101T\d{6}_T34HCH", scene.index)
    assert re.fullmatch(r"S2A_MSIL2A_20190101T082331_N0211_R121_T34HCH_20190101T\d{6}", scene.properties["PRODUCT_ID"])
    assert scene.properties["DATATAKE_IDENTIFIER"] == "GS2A_20190101T082331_018422_N02.11"
    assert abs(scene.start_ms - 1_546_332_584_000) < 30_000
    assert [band.id for band in scene.bands] == list(sentinel2.BANDS[S2])
    assert scene.band("B11").transform == (20, 0, 300_000, 0, -20, 6_300_040)
    assert scene.band("B1").shape == (1830, 1830)


@pytest.mark.parametrize("tile", REAL_TILES)
def test_real_label_tiles_have_their_scene(catalogue: Catalogue, tile: str) -> None:
    wanted = parse_tile_id(tile)
    start = ms(wanted.date)

    found = catalogue.find(S2, start_ms=start, end_ms=start + DAY_MS, region=around(wanted.lon, wanted.lat))

    whole = box(*around(wanted.lon, wanted.lat))
    assert any(Polygon(scene.footprint).contains(whole) for scene in found)
    assert all(scene.properties["CLOUDY_PIXEL_PERCENTAGE"] < 10 for scene in found)


def test_sentinel_1_scenes_look_like_real_ones(catalogue: Catalogue) -> None:
    scene = of_year(catalogue, S1, 13.0, 50.0)[0]

    assert re.fullmatch(r"S1[AB]_IW_GRDH_1SDV_\d{8}T\d{6}_\d{8}T\d{6}_\d{6}_[0-9A-F]{6}_[0-9A-F]{4}", scene.index)
    assert scene.properties["instrumentMode"] == "IW"
    assert scene.properties["transmitterReceiverPolarisation"] == ["VV", "VH"]
    assert [band.id for band in scene.bands] == ["VV", "VH", "angle"]
    transform = scene.band("VV").transform
    assert transform[0] == -transform[4] == 10
    assert transform[2] % 10 != 0
    assert transform[5] % 10 != 0
    assert Polygon(scene.footprint).exterior.is_ccw


def test_properties_are_real_ones(catalogue: Catalogue, real_data: Path) -> None:
    """Names of properties as in a real getInfo; ours lack facilities, countries, sizes and the footprint."""
    sentinel_1 = json.loads((real_data / "metadata/s1_grd_getinfo.json").read_text())["properties"]
    sentinel_2 = json.loads((real_data / "metadata/s2_sr_tags.json").read_text())["properties"]
    real_2 = {name.replace("system-", "system:") for name in sentinel_2}
    ours_1, ours_2 = (of_year(catalogue, name, 13.0, 50.0)[0].properties for name in (S1, S2))

    assert set(ours_1) <= set(sentinel_1)
    assert set(ours_2) <= real_2
    left_out = {name for name in set(sentinel_1) - set(ours_1) if not name.startswith(("system:", "SLC_", "GRD_"))}
    assert left_out == set()
    assert len(real_2 - set(ours_2)) <= 10


def test_the_incidence_angle_has_a_coarse_grid_along_the_swath(catalogue: Catalogue) -> None:
    """As in a real scene: 21 x 10 pixels of about 13 x 20 km; going up, columns lead east and rows north."""
    scene = next(s for s in of_year(catalogue, S1, 13.0, 50.0) if s.properties["orbitProperties_pass"] == "ASCENDING")
    angle = scene.band("angle")
    a, b, _, d, e, _ = angle.transform

    assert angle.shape == (10, 21)
    assert np.hypot(a, d) == pytest.approx(12_500, rel=0.1)
    assert np.hypot(b, e) == pytest.approx(17_500, rel=0.15)
    assert a > 0
    assert e > 0


# Searches -------------------------------------------------------------------------------------------------------------


def test_the_class_offers_what_the_protocol_asks_for(catalogue: Catalogue) -> None:
    checked: SceneSource = catalogue

    assert checked.collections[0] == S2


def test_an_id_alone_leads_to_its_scene(catalogue: Catalogue) -> None:
    fresh = Catalogue(EarthPlanet(seed=7))
    for collection in (S2, S1):
        for scene in of_year(catalogue, collection, 13.0, 50.0)[:5]:
            assert fresh.find(collection, indices=frozenset([scene.index])) == [scene]
            assert fresh.scene(scene.id) == scene
            if collection == S2:
                assert fresh.find(S2, product_ids=frozenset([scene.properties["PRODUCT_ID"]])) == [scene]


@pytest.mark.parametrize(
    "asset",
    [f"{S2}/20190101T082332_20190101T084846_T34HCH", f"{S2}/nonsense", f"{S1}/S1A_IW", "NO/SUCH/x", "", f"{S1}/{S2}"],
)
def test_ids_of_nothing_give_none(catalogue: Catalogue, asset: str) -> None:
    assert catalogue.scene(asset) is None


def test_times_are_half_open(catalogue: Catalogue) -> None:
    scene = of_year(catalogue, S1, 13.0, 50.0)[3]
    place, start = around(13.0, 50.0), scene.start_ms

    assert scene in catalogue.find(S1, start_ms=start, end_ms=start + 1, region=place)
    assert scene not in catalogue.find(S1, start_ms=start - 1000, end_ms=start, region=place)


def test_scenes_are_in_order_of_time_and_index(catalogue: Catalogue) -> None:
    for collection in (S2, S1):
        found = of_year(catalogue, collection, 13.0, 50.0)
        assert found == sorted(found, key=lambda scene: (scene.start_ms, scene.index))
        assert len({scene.index for scene in found}) == len(found)


def test_searches_without_limits_are_refused(catalogue: Catalogue) -> None:
    day = ms(date(2019, 6, 1))
    for limits in ({}, {"region": (-180.0, -80.0, 180.0, 84.0)}, {"start_ms": day, "end_ms": day + DAY_MS}):
        with pytest.raises(TooManyScenesError):
            catalogue.find(S2, **limits)
    with pytest.raises(KeyError):
        catalogue.find("COPERNICUS/S2_SR")


@pytest.mark.parametrize("collection", [S2, S1])
def test_a_few_minutes_alone_are_enough(catalogue: Catalogue, collection: str) -> None:
    scene = of_year(catalogue, collection, 13.0, 50.0)[0]

    found = catalogue.find(collection, start_ms=scene.start_ms, end_ms=scene.start_ms + 30_000)

    assert scene in found


def test_the_date_line_does_not_hide_scenes(catalogue: Catalogue) -> None:
    east = catalogue.find(
        S1, start_ms=ms(date(2019, 1, 1)), end_ms=ms(date(2020, 1, 1)), region=(179.98, 52, 180.02, 52.1)
    )
    west = catalogue.find(
        S1, start_ms=ms(date(2019, 1, 1)), end_ms=ms(date(2020, 1, 1)), region=(-180.02, 52, -179.98, 52.1)
    )

    assert east == west


def test_most_places_have_25_to_60_radar_scenes_a_year_and_some_none(catalogue: Catalogue) -> None:
    counts = [len(usable) for usable in _usable(catalogue)]

    assert 20 <= np.median(counts) <= 60
    assert max(counts) <= 90


def _usable(catalogue: Catalogue) -> Iterator[list[Scene]]:
    for lon, lat in (
        (13.0, 50.0),
        (25.0, 0.0),
        (-60.0, -10.0),
        (-100.0, 40.0),
        (77.0, 20.0),
        (140.0, -30.0),
        (100.0, 60.0),
    ):
        yield [
            scene
            for scene in of_year(catalogue, S1, lon, lat)
            if scene.properties["transmitterReceiverPolarisation"] == ["VV", "VH"]
            and Polygon(scene.footprint).contains(Point(lon, lat))
        ]


def test_the_high_arctic_has_extra_wide_scenes_only(catalogue: Catalogue) -> None:
    found = catalogue.find(S1, start_ms=ms(date(2019, 6, 1)), end_ms=ms(date(2019, 7, 1)), region=around(-40.0, 78.0))

    assert found
    assert {scene.properties["instrumentMode"] for scene in found} == {"EW"}
    assert {tuple(scene.properties["transmitterReceiverPolarisation"]) for scene in found} == {("HH", "HV")}


def test_about_two_scenes_in_a_hundred_are_missing() -> None:
    draws = [noise.unit("missing", "32UPU", "S2A", orbit) for orbit in range(20_000)]

    assert np.mean(np.array(draws) < sentinel2.MISSING_SHARE) == pytest.approx(0.02, abs=0.004)


def test_sentinel_1b_takes_no_scenes_after_2021(catalogue: Catalogue) -> None:
    before, after = of_year(catalogue, S1, 13.0, 50.0), of_year(catalogue, S1, 13.0, 50.0, 2022)

    assert {scene.properties["platform_number"] for scene in before} == {"A", "B"}
    assert {scene.properties["platform_number"] for scene in after} == {"A"}


# Pixels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("collection", "band"), [(S2, "B4"), (S2, "B11"), (S1, "VV"), (S1, "angle")])
def test_windows_of_a_scene_agree_also_beyond_its_edge(catalogue: Catalogue, collection: str, band: str) -> None:
    scene = of_year(catalogue, collection, 13.0, 50.0)[0]
    height, width = scene.band(band).shape
    rows, cols = (height // 2, height // 2 + 60), (width - 40, width + 20)

    values, mask = catalogue.read(scene, band, rows, cols)
    part, part_mask = pickle.loads(pickle.dumps(catalogue)).read(scene, band, (rows[0] + 7, rows[0] + 29), cols)

    assert values.dtype == scene.band(band).dtype
    assert not mask[:, 40:].any()
    assert (values[~mask] == 0).all()
    assert np.array_equal(part, values[7:29])
    assert np.array_equal(part_mask, mask[7:29])


@pytest.mark.parametrize("collection", [S2, S1])
def test_the_mask_is_the_footprint(catalogue: Catalogue, collection: str) -> None:
    """Compared with shapely, in degrees: the outline's straight lines differ by little."""
    scene = next(
        item
        for item in of_year(catalogue, collection, 13.0, 50.0)
        if item.properties.get("NODATA_PIXEL_PERCENTAGE", 100) > 20
    )
    band = scene.bands[0]
    outline = Polygon(scene.footprint).buffer(0)
    to_degrees = Transformer.from_crs(band.crs, 4326, always_xy=True)
    inside, outside = 0, 0
    for row in range(5, band.shape[0], band.shape[0] // 16):
        for col in range(5, band.shape[1], band.shape[1] // 16):
            a, _, c, _, e, f = band.transform
            point = Point(*to_degrees.transform(c + a * (col + 0.5), f + e * (row + 0.5)))
            if point.distance(outline.exterior) < 0.01:
                continue
            _, mask = catalogue.read(scene, band.id, (row, row + 1), (col, col + 1))
            assert mask.item() == outline.contains(point)
            inside, outside = inside + mask.item(), outside + (not mask.item())
    assert inside > 20
    assert outside > 20


def test_linear_power_is_the_same_scene_without_the_logarithm(catalogue: Catalogue) -> None:
    decibel = of_year(catalogue, S1, 13.0, 50.0)[0]
    linear = catalogue.scene(f"COPERNICUS/S1_GRD_FLOAT/{decibel.index}")
    assert linear is not None
    rows = cols = (9000, 9020)

    power, _ = catalogue.read(linear, "VV", rows, cols)
    level, _ = catalogue.read(decibel, "VV", rows, cols)

    assert (decibel.band("VV").dtype, linear.band("VV").dtype) == ("float64", "float32")
    assert np.allclose(10 * np.log10(power.astype(float)), level, atol=1e-4)


def test_incidence_grows_from_30_to_46_degrees_across_the_swath(catalogue: Catalogue) -> None:
    scene = of_year(catalogue, S1, 13.0, 50.0)[0]
    height, width = scene.band("angle").shape

    angle, mask = catalogue.read(scene, "angle", (0, height), (0, width))

    assert angle[mask].min() == pytest.approx(30, abs=1)
    assert angle[mask].max() == pytest.approx(46, abs=1)


def test_planes_are_read_without_a_shift() -> None:
    """B4 of T32UPA (10 m) and VV of any scene: the value at a pixel's centre, worked out by PROJ."""
    lon, lat = 12.5, 50.0
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(lon, lat)
    planes = Catalogue(PlanePlanet(origin_x=x, origin_y=y))
    for collection, name, level, east, north in ((S2, "B4", 31_300.0, 4.0, 3.0), (S1, "VV", -12.0, 0.01, 0.006)):
        for scene in _covering(of_year(planes, collection, lon, lat), lon, lat)[:6]:
            band = scene.band(name)
            a, _, c, _, e, f = band.transform
            px, py = Transformer.from_crs(4326, band.crs, always_xy=True).transform(lon, lat)
            col, row = int((px - c) // a), int((py - f) // e)
            value, _ = planes.read(scene, name, (row, row + 1), (col, col + 1))
            centre = c + a * (col + 0.5), f + e * (row + 0.5)
            home_x, home_y = Transformer.from_crs(band.crs, 32633, always_xy=True).transform(*centre)
            expected = level + east * (home_x - x) / 10 + north * (home_y - y) / 10
            assert value.item() == pytest.approx(expected, abs=0.5 if collection == S2 else 1e-4)


def _covering(scenes: list[Scene], lon: float, lat: float) -> list[Scene]:
    inner = [scene for scene in scenes if Polygon(scene.footprint).buffer(-0.05).contains(Point(lon, lat))]
    assert inner
    return inner
