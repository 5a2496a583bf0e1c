"""What the catalogue offers besides reflectance and backscatter: scene classes, top of atmosphere, land-cover maps."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime

import numpy as np
import pytest
from dwplus.local_ee.catalogue import annotations, maps, products, sentinel2
from dwplus.local_ee.catalogue.catalogue import Catalogue
from dwplus.local_ee.planet import utm
from dwplus.local_ee.planet.earth import EarthPlanet
from dwplus.local_ee.planet.plane_planet import PlanePlanet
from dwplus.local_ee.scene import Scene, TooManyScenesError
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from numpy.typing import NDArray
from pyproj import Transformer

LON, LAT = 13.0, 50.0
DAY_MS = 86_400_000
WINDOW = (3_000, 3_240)
"""Rows and columns of 10 m pixels that the tests look at."""


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(EarthPlanet(seed=7))


@pytest.fixture(scope="module")
def cloudy(catalogue: Catalogue) -> Scene:
    """An L2A scene of summer whose window is a good part under clouds."""
    for scene in scenes(catalogue, sentinel2.L2A):
        if 15 < scene.properties["CLOUDY_PIXEL_PERCENTAGE"] <= 35 and full(scene):
            bits, _ = window(catalogue, scene, "QA60")
            if 0.1 < (bits > 0).mean() < 0.8:
                return scene
    raise AssertionError("no cloudy scene")


def ms(year: int, month: int = 1, day: int = 1) -> int:
    return int(datetime(year, month, day, tzinfo=UTC).timestamp()) * 1000


def scenes(catalogue: Catalogue, collection: str, year: int = 2019) -> list[Scene]:
    region = (LON - 0.02, LAT - 0.02, LON + 0.02, LAT + 0.02)
    return catalogue.find(collection, start_ms=ms(year), end_ms=ms(year, 12, 27), region=region)


def full(scene: Scene) -> bool:
    return scene.properties["NODATA_PIXEL_PERCENTAGE"] == 0


def window(catalogue: Catalogue, scene: Scene, band: str) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    factor = int(scene.band(band).transform[0]) // 10
    span = WINDOW[0] // factor, WINDOW[1] // factor
    return catalogue.read(scene, band, span, span)


def truth(catalogue: Catalogue, scene: Scene, step_m: int = 10) -> NDArray[np.uint8]:
    band = next(b for b in scene.bands if b.transform[0] == step_m)
    a, _, x, _, _, y = band.transform
    lines = WINDOW[0] * 10 // step_m, WINDOW[1] * 10 // step_m
    return catalogue.planet.landcover(utm.UtmGrid(utm.zone_of(band.crs)[0], x, y, a, lines, lines))


def same_scene(catalogue: Catalogue, scene: Scene, collection: str) -> Scene:
    found = catalogue.scene(f"{collection}/{scene.index}")
    assert found is not None
    return found


# Sentinel-2 -----------------------------------------------------------------------------------------------------------


def test_each_collection_has_its_bands(catalogue: Catalogue, cloudy: Scene) -> None:
    l1c, dw = (same_scene(catalogue, cloudy, name) for name in (sentinel2.L1C, sentinel2.DYNAMIC_WORLD_V1))

    optical = ["B1", "B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B9", "B10", "B11", "B12"]
    assert [b.id for b in l1c.bands] == [*optical, "QA60"]
    assert [b.id for b in cloudy.bands][:15] == [*(b for b in optical if b != "B10"), "AOT", "WVP", "SCL"]
    assert [b.id for b in dw.bands] == [*DYNAMIC_WORLD.names, "label"]
    assert (cloudy.band("SCL").dtype, cloudy.band("SCL").transform[0]) == ("uint8", 20)
    assert (dw.band("label").dtype, dw.band("water").dtype) == ("uint8", "float32")
    assert cloudy.band("B2").transform == l1c.band("B2").transform == dw.band("label").transform


@pytest.mark.parametrize("collection", list(sentinel2.BANDS))
def test_every_band_is_the_same_through_any_window(catalogue: Catalogue, cloudy: Scene, collection: str) -> None:
    scene = same_scene(catalogue, cloudy, collection)
    fresh: Catalogue = pickle.loads(pickle.dumps(catalogue))
    for band in scene.bands:
        values, mask = catalogue.read(scene, band.id, (500, 540), (500, 550))
        part, part_mask = fresh.read(scene, band.id, (507, 531), (520, 541))
        assert values.dtype == band.dtype
        assert np.array_equal(part, values[7:31, 20:41])
        assert np.array_equal(part_mask, mask[7:31, 20:41])


def test_l1c_and_l2a_are_two_products_of_one_scene(catalogue: Catalogue, cloudy: Scene) -> None:
    l1c = same_scene(catalogue, cloudy, sentinel2.L1C)

    assert l1c.start_ms == cloudy.start_ms
    assert "_MSIL1C_" in l1c.properties["PRODUCT_ID"]
    assert "_MSIL2A_" in cloudy.properties["PRODUCT_ID"]
    assert catalogue.find(sentinel2.L1C, product_ids=frozenset([l1c.properties["PRODUCT_ID"]])) == [l1c]


def test_air_brightens_blue_and_darkens_infrared(catalogue: Catalogue) -> None:
    clear = next(s for s in scenes(catalogue, sentinel2.L2A) if s.properties["CLOUDY_PIXEL_PERCENTAGE"] == 0)
    above = same_scene(catalogue, clear, sentinel2.L1C)

    def medians(band: str) -> tuple[float, float]:
        return tuple(float(np.median(window(catalogue, scene, band)[0])) for scene in (above, clear))

    blue, infrared, vapour = medians("B2"), medians("B8"), medians("B9")
    assert blue[0] > blue[1] + 300
    assert infrared[0] < infrared[1]
    assert vapour[0] < 0.6 * vapour[1]
    assert np.median(window(catalogue, above, "B10")[0]) < 20  # next to nothing of the ground


def test_scene_classes_follow_truth_and_clouds(catalogue: Catalogue, cloudy: Scene) -> None:
    """Water, snow and towns by the truth, plants green or not, clouds over all of them."""
    classes, _ = window(catalogue, cloudy, "SCL")
    probability, _ = window(catalogue, cloudy, "MSK_CLDPRB")
    cover = truth(catalogue, cloudy, 20)
    clear = (probability < 5) & (classes != products.SHADOW)

    assert set(np.unique(classes)) <= set(range(2, 12))
    assert np.isin(classes[probability > 40], (8, 9)).all()
    assert (classes[clear & (cover == 0)] == 6).all()
    assert (classes[clear & (cover == 6)] == 5).all()
    assert (classes[clear & (cover == 1)] == 4).mean() > 0.8


def test_quality_bands_stay_in_their_ranges(catalogue: Catalogue, cloudy: Scene) -> None:
    assert set(np.unique(window(catalogue, cloudy, "QA60")[0])) <= {0, 1024, 2048}
    for band, low, high in (("AOT", 20, 500), ("WVP", 200, 6_000), ("TCI_R", 1, 255), ("MSK_SNWPRB", 0, 100)):
        values, _ = window(catalogue, cloudy, band)
        assert low <= values.min() <= values.max() <= high


def test_properties_are_those_of_a_real_scene(catalogue: Catalogue) -> None:
    """T34HCH of 2019-01-01: the Sun stood at a zenith angle of 27.6 and an azimuth of 74.3 degrees."""
    day = ms(2019)
    found = catalogue.find(sentinel2.L2A, start_ms=day, end_ms=day + DAY_MS, region=(19.2, -34.1, 19.4, -33.9))
    properties = next(s for s in found if s.properties["MGRS_TILE"] == "34HCH").properties

    assert properties["MEAN_SOLAR_ZENITH_ANGLE"] == pytest.approx(27.6, abs=1.5)
    assert properties["MEAN_SOLAR_AZIMUTH_ANGLE"] == pytest.approx(74.3, abs=4)
    assert properties["REFLECTANCE_CONVERSION_CORRECTION"] == pytest.approx(1.03413, abs=5e-4)
    assert properties["SOLAR_IRRADIANCE_B2"] == 1959.72
    assert 0 < properties["MEAN_INCIDENCE_ZENITH_ANGLE_B9"] < 12


def test_some_scenes_are_there_twice(catalogue: Catalogue) -> None:
    """Reprocessed with baseline 05.00: same sensing time and pixels, another index and product id."""
    by_time: dict[int, list[Scene]] = {}
    for year in (2018, 2019, 2020):
        for scene in scenes(catalogue, sentinel2.L2A, year):
            by_time.setdefault(scene.start_ms, []).append(scene)
    total = sum(map(len, by_time.values()))
    pairs = [
        pair
        for group in by_time.values()
        for pair in [[s for s in group if s.properties["MGRS_TILE"] == "33UUR"]]
        if len(pair) == 2
    ]

    assert 0.01 * total < sum(len(group) for group in by_time.values() if _reprocessed(group)) < 0.15 * total
    for first, again in pairs:
        assert again.properties["PROCESSING_BASELINE"] == "05.00"
        assert again.index > first.index
        assert catalogue.scene(again.id) == again
        assert np.array_equal(window(catalogue, again, "B4")[0], window(catalogue, first, "B4")[0])


def _reprocessed(group: list[Scene]) -> bool:
    return any(s.properties["PROCESSING_BASELINE"] == "05.00" for s in group)


def test_a_place_in_the_overlap_of_granules_has_several_scenes_at_once(catalogue: Catalogue) -> None:
    found = catalogue.find(sentinel2.L2A, start_ms=ms(2019, 6), end_ms=ms(2019, 7), region=(12.42, 50.4, 12.44, 50.42))

    names = {}
    for scene in found:
        names.setdefault(scene.properties["DATATAKE_IDENTIFIER"], set()).add(scene.properties["MGRS_TILE"])
    assert max(map(len, names.values())) >= 2


# Cloud Score+ ---------------------------------------------------------------------------------------------------------


def test_cloud_scores_are_low_under_clouds_and_shadows_and_1_where_it_is_clear(
    catalogue: Catalogue, cloudy: Scene
) -> None:
    scene = same_scene(catalogue, cloudy, sentinel2.CLOUD_SCORE)
    score, mask = window(catalogue, scene, "cs")
    probability = np.kron(window(catalogue, cloudy, "MSK_CLDPRB")[0], np.ones((2, 2)))
    classes = np.kron(window(catalogue, cloudy, "SCL")[0], np.ones((2, 2)))

    assert mask.all()
    assert 0 <= score.min() < 0.1
    assert 0.99 < score.max() <= 1
    assert np.median(score[probability > 90]) < 0.1
    assert np.median(score[classes == products.SHADOW]) < 0.5
    clear = (probability == 0) & np.isin(classes, (products.VEGETATION, products.NOT_VEGETATED, products.WATER))
    assert np.median(score[clear]) > 0.95


def test_the_second_cloud_score_orders_pixels_as_the_first_does(catalogue: Catalogue, cloudy: Scene) -> None:
    scene = same_scene(catalogue, cloudy, sentinel2.CLOUD_SCORE)
    score, of_all = (window(catalogue, scene, band)[0].ravel() for band in ("cs", "cs_cdf"))

    order = np.argsort(score, kind="stable")
    assert (np.diff(of_all[order]) >= -1e-6).all()
    assert 0 <= of_all.min() <= of_all.max() <= 1


def test_cloud_scores_exist_for_every_scene_of_l1c(catalogue: Catalogue) -> None:
    l1c = {scene.index: scene.start_ms for scene in scenes(catalogue, sentinel2.L1C)}

    assert {scene.index: scene.start_ms for scene in scenes(catalogue, sentinel2.CLOUD_SCORE)} == l1c


# Dynamic World --------------------------------------------------------------------------------------------------------


def test_dynamic_world_has_no_scenes_of_more_than_35_per_cent_cloud(catalogue: Catalogue) -> None:
    l1c = {s.index: s.properties["CLOUDY_PIXEL_PERCENTAGE"] for s in scenes(catalogue, sentinel2.L1C)}
    named = {s.index for s in scenes(catalogue, sentinel2.DYNAMIC_WORLD_V1)}

    assert named == {index for index, cloud in l1c.items() if cloud <= 35}
    assert len(named) < len(l1c)


def test_probabilities_sum_to_1_and_the_label_is_the_likeliest(catalogue: Catalogue, cloudy: Scene) -> None:
    scene = same_scene(catalogue, cloudy, sentinel2.DYNAMIC_WORLD_V1)
    label, mask = window(catalogue, scene, "label")
    stack = np.stack([window(catalogue, scene, name)[0] for name in DYNAMIC_WORLD.names])

    assert np.allclose(stack[:, mask].sum(axis=0), 1, atol=1e-6)
    assert np.array_equal(stack.argmax(axis=0)[mask], label[mask])
    assert (stack[:, ~mask] == 0).all()


def test_dynamic_world_is_masked_under_clouds(catalogue: Catalogue, cloudy: Scene) -> None:
    _, mask = window(catalogue, same_scene(catalogue, cloudy, sentinel2.DYNAMIC_WORLD_V1), "label")
    probability = np.kron(window(catalogue, cloudy, "MSK_CLDPRB")[0], np.ones((2, 2)))

    assert not mask[probability > 30].any()
    assert mask.mean() > 0.1


def test_dynamic_world_is_what_the_released_model_labels_are(catalogue: Catalogue) -> None:
    scene = next(s for s in scenes(catalogue, sentinel2.DYNAMIC_WORLD_V1) if s.index.endswith("33UUR"))
    a, _, x, _, e, y = scene.band("label").transform
    lines = WINDOW

    label, mask = window(catalogue, scene, "label")
    corner = (a, 0.0, x + a * lines[0], 0.0, e, y + e * lines[0])
    released = catalogue.planet.model_labels(scene.bands[0].crs, corner, label.shape, scene.index)

    assert mask.any()
    assert np.array_equal(label[mask], released[mask])


# Maps -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("collection", "index"), [("ESA/WorldCover/v100", "2020"), ("ESA/WorldCover/v200", "2021")])
def test_worldcover_is_one_image_of_degrees(catalogue: Catalogue, collection: str, index: str) -> None:
    (scene,) = catalogue.find(collection)

    assert scene == catalogue.scene(f"{collection}/{index}")
    assert scene.bands[0].id == "Map"
    assert scene.bands[0].crs == "EPSG:4326"
    assert scene.bands[0].transform[0] == 1 / 12_000
    assert catalogue.find(collection, start_ms=ms(2022)) == []
    assert catalogue.find(collection, region=(12.0, 50.0, 13.0, 51.0)) == [scene]


def test_worldcover_shows_most_of_the_truth_at_its_place(catalogue: Catalogue) -> None:
    """Classes at pixel centres, found by PROJ in zone 33; three of four agree, and any window is the same."""
    (scene,) = catalogue.find("ESA/WorldCover/v200")
    row, col = round((84 - LAT) * 12_000), round((180 + LON) * 12_000)
    codes, mask = catalogue.read(scene, "Map", (row, row + 200), (col, col + 200))
    part, _ = catalogue.read(scene, "Map", (row + 50, row + 90), (col + 20, col + 60))
    lon = -180 + (col + np.arange(200) + 0.5) / 12_000
    lat = 84 - (row + np.arange(200) + 0.5) / 12_000
    x, y = Transformer.from_crs(4326, 32633, always_xy=True).transform(*np.meshgrid(lon, lat))
    left, top = x.min() // 10 * 10 - 10, y.max() // 10 * 10 + 10
    ground = catalogue.planet.landcover(utm.UtmGrid(33, left, top, 10, (0, 400), (0, 400)))
    seen = ground[((top - y) // 10).astype(int), ((x - left) // 10).astype(int)]

    assert mask.all()
    assert np.array_equal(part, codes[50:90, 20:60])
    assert set(np.unique(codes)) <= set(scene.properties["Map_class_values"])
    agree = np.array([80, 10, 30, 90, 40, 20, 50, 60, 70])[seen] == codes
    assert 0.6 < agree.mean() < 0.9


def test_the_esri_series_has_a_tile_for_each_zone_band_and_year(catalogue: Catalogue) -> None:
    (scene,) = catalogue.find(maps.ESRI, region=(44.0, 42.0, 44.5, 42.5), start_ms=ms(2018), end_ms=ms(2019))

    assert scene.index == "38T_2018"
    assert scene.start_ms == ms(2018)
    assert [(b.id, b.dtype, b.crs) for b in scene.bands] == [("b1", "uint8", "EPSG:32638")]
    assert catalogue.find(maps.ESRI, indices=frozenset(["38T_2018"])) == [scene]
    assert catalogue.scene(f"{maps.ESRI}/38T_2016") is None
    with pytest.raises(TooManyScenesError):
        catalogue.find(maps.ESRI)


def test_the_esri_series_merges_grass_and_shrub(catalogue: Catalogue) -> None:
    scene = catalogue.scene(f"{maps.ESRI}/33U_2020")
    assert scene is not None
    _, _, x, _, _, y = scene.bands[0].transform
    rows, cols = (20_000, 20_200), (20_000, 20_200)

    codes, mask = catalogue.read(scene, "b1", rows, cols)
    cover = catalogue.planet.landcover(utm.UtmGrid(33, x, y, 10, rows, cols))

    assert mask.all()
    assert set(np.unique(codes)) <= {1, 2, 4, 5, 7, 8, 9, 11}
    assert 0.6 < (np.array([1, 2, 11, 4, 5, 11, 7, 8, 9])[cover] == codes).mean() < 0.95


# Labels ---------------------------------------------------------------------------------------------------------------


def test_label_tiles_of_the_default_world_are_images_too(catalogue: Catalogue) -> None:
    found = catalogue.find(annotations.COLLECTION)
    scene = next(s for s in found if "S2_GEE_ID" in s.properties)
    codes, mask = catalogue.read(scene, "lulc", (0, 510), (0, 510))
    part, _ = catalogue.read(scene, "lulc", (100, 140), (200, 260))

    assert len(found) == 132
    assert scene.index == scene.properties["dw_id"].replace(".", "d")
    assert catalogue.scene(scene.id) == scene
    assert catalogue.scene(f"{sentinel2.L2A}/{scene.properties['S2_GEE_ID']}") is not None
    assert 1 <= sum("S2_GEE_ID" not in s.properties for s in found) <= 12
    assert set(np.unique(codes[mask])) <= set(range(1, 11))
    assert (codes[~mask] == 0).all()
    assert np.array_equal(part, codes[100:140, 200:260])


def test_planes_have_products_too() -> None:
    """Planes are for measuring shifts; a request that reads another band of them still gets an answer."""
    planes = Catalogue(PlanePlanet(origin_x=356_000.0, origin_y=5_540_000.0))
    scene = next(s for s in scenes(planes, sentinel2.L2A) if s.index.endswith("33UUR") and full(s))
    for collection in sentinel2.BANDS:
        for band in same_scene(planes, scene, collection).bands:
            assert planes.read(same_scene(planes, scene, collection), band.id, (100, 104), (100, 104))[1].all()


def test_sentinel_2_begins_in_2017_for_l2a(catalogue: Catalogue) -> None:
    assert scenes(catalogue, sentinel2.L2A, 2016) == []
    assert scenes(catalogue, sentinel2.L1C, 2016)
    assert (
        date(2017, 3, 28)
        <= datetime.fromtimestamp(scenes(catalogue, sentinel2.L2A, 2017)[0].start_ms / 1000, UTC).date()
    )
