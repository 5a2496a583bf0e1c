"""The synthetic Earth: one ground for all zones and windows, classes everywhere, speckle that averages out."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from dwplus.local_ee.planet import ground, noise, utm
from dwplus.local_ee.planet.earth import EarthPlanet
from dwplus.local_ee.planet.materials import MATERIALS, OPTICAL_BANDS
from dwplus.local_ee.planet.plane_planet import PlanePlanet
from dwplus.local_ee.planet.planet import biome_of, make_planet
from dwplus.local_ee.planet.protocol import ViewGeometry
from dwplus.local_ee.planet.spectra import mean, seen_through
from dwplus.local_ee.planet.utm import UtmGrid
from dwplus.manifests import load_csv
from numpy.typing import NDArray
from pyproj import Transformer

SUMMER = ViewGeometry(key=1, day=200, lat=50.0)
ALPS = UtmGrid(32, 480_000, 5_300_040, 10, (0, 120), (0, 120))


@pytest.fixture(scope="module")
def earth() -> EarthPlanet:
    return EarthPlanet(seed=7)


@pytest.mark.parametrize(
    "config", [{"kind": "earth", "seed": 3}, {"kind": "planes", "origin_x": 500_000.0, "origin_y": -900_000.0}]
)
def test_a_planet_comes_back_from_json_and_from_a_pickle(config: dict[str, object]) -> None:
    planet = make_planet(config)

    for copy in (make_planet(json.loads(json.dumps(planet.config))), pickle.loads(pickle.dumps(planet))):
        assert copy.config == planet.config
        assert np.array_equal(copy.optical("B4", ALPS, 1, SUMMER), planet.optical("B4", ALPS, 1, SUMMER))


def test_an_unknown_kind_of_planet_is_named() -> None:
    with pytest.raises(ValueError, match="'mars'"):
        make_planet({"kind": "mars"})


def test_biomes_lie_where_the_real_ones_are() -> None:
    """The tile of southern England is Temperate Broadleaf & Mixed Forests (4), that of Java is not."""
    assert biome_of(-0.517, 51.404) == 4
    assert {biome_of(float(r["lon"]), float(r["lat"])) for r in load_csv("test_409")} == set(range(1, 15))


# One ground -----------------------------------------------------------------------------------------------------------


def test_any_window_shows_the_same_pixels(earth: EarthPlanet) -> None:
    part = UtmGrid(ALPS.zone, ALPS.x, ALPS.y, 10, (31, 77), (50, 90))
    fresh = EarthPlanet(seed=7)

    assert np.array_equal(fresh.landcover(part), earth.landcover(ALPS)[31:77, 50:90])
    assert np.array_equal(fresh.optical("B8", part, 1, SUMMER), earth.optical("B8", ALPS, 1, SUMMER)[31:77, 50:90])
    assert np.array_equal(fresh.backscatter("VH", part, SUMMER), earth.backscatter("VH", ALPS, SUMMER)[31:77, 50:90])


def test_another_seed_is_another_earth(earth: EarthPlanet) -> None:
    assert (EarthPlanet(seed=8).landcover(ALPS) != earth.landcover(ALPS)).mean() > 0.2


def test_neighbouring_zones_see_the_same_ground(earth: EarthPlanet) -> None:
    """A grid of zone 33 over a place of zone 32: each pixel shows the class at its centre, found by PROJ."""
    x, y = (float(v) for v in utm.forward(*(v[()] for v in utm.inverse(500_000, 5_300_000, 32)), 33))
    abroad = UtmGrid(33, x, y, 10, (0, 60), (0, 60))
    east, north = np.meshgrid(abroad.eastings, abroad.northings)
    x_home, y_home = Transformer.from_crs(32633, 32632, always_xy=True).transform(east, north)
    home = UtmGrid(32, 499_000, 5_301_000, 10, (0, 220), (0, 220))
    rows, cols = ((home.y - y_home) // 10).astype(int), ((x_home - home.x) // 10).astype(int)

    seen = earth.landcover(abroad)

    assert (seen == earth.landcover(home)[rows, cols]).mean() > 0.998  # a pixel centre may lie on a border


def test_both_hemispheres_meet_at_the_equator(earth: EarthPlanet) -> None:
    north = earth.landcover(UtmGrid.of("EPSG:32630", (10, 0, 500_000, 0, -10, 500), (100, 100)))
    south = earth.landcover(UtmGrid.of("EPSG:32730", (10, 0, 500_000, 0, -10, 10_000_500), (100, 100)))

    assert np.array_equal(north, south)


def test_a_grid_across_zones_shows_each_zones_own_ground(earth: EarthPlanet) -> None:
    x, y = (float(v) for v in utm.forward(6.0, 50.0, 31))
    grid = UtmGrid(31, round(x, -1) - 300, round(y, -1), 10, (0, 60), (0, 60))

    seen = earth.landcover(grid)

    for part in utm.parts(grid):
        assert part.inside is not None
        rows, cols = np.broadcast_to(part.rows, grid.shape), np.broadcast_to(part.cols, grid.shape)
        whole = ground.ground(
            7, part.zone, (int(rows.min()), int(rows.max()) + 1), (int(cols.min()), int(cols.max()) + 1)
        )
        expected = whole.cover[rows - rows.min(), cols - cols.min()]
        assert np.array_equal(seen[part.inside], expected[part.inside])


# Land cover -----------------------------------------------------------------------------------------------------------


def _tiles(step: int) -> list[tuple[int, UtmGrid]]:
    """(biome, grid) of every so manieth real test tile."""
    found = []
    for row in load_csv("test_409")[::step]:
        lon, lat = float(row["lon"]), float(row["lat"])
        zone = int(utm.home_zone(lon))
        x, y = (round(float(v), -1) for v in utm.forward(lon, lat, zone))
        found.append((biome_of(lon, lat), UtmGrid(zone, x - 2550, y + 2550, 10, (0, 510), (0, 510))))
    return found


def test_all_classes_occur_and_a_tile_holds_several(earth: EarthPlanet) -> None:
    shares = np.zeros((15, 9))
    several = []
    for biome, grid in _tiles(13):
        share = np.bincount(earth.landcover(grid).ravel(), minlength=9) / 510**2
        shares[biome] += share
        several.append(int((share > 0.01).sum()))
    world = np.mean([row / row.sum() for row in shares if row.sum()], axis=0)

    assert world[8] == world.min()
    assert 0.001 < world[8] < 0.01  # snow is rare, as the rarest classes of real releases are
    assert np.sort(world)[1] > 0.01
    assert world.max() < 0.3
    assert np.median(several) >= 4


def test_snow_grows_towards_the_pole(earth: EarthPlanet) -> None:
    def snow(lat: float) -> float:
        x, y = (round(float(v), -1) for v in utm.forward(21.0, lat, 34))
        return float((earth.landcover(UtmGrid(34, x, y, 10, (0, 2000), (0, 300))) == 8).mean())

    assert snow(45.0) < 0.35
    assert snow(82.5) > 0.7


# Reflectance ----------------------------------------------------------------------------------------------------------


def test_coarse_bands_are_means_of_the_truth(earth: EarthPlanet) -> None:
    value = np.arange(24, dtype=np.float32).reshape(4, 6)
    assert mean(value, 2).tolist() == [[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]
    fine = earth.optical("B8", ALPS, 1, SUMMER).astype(float)
    coarse = earth.optical("B8", UtmGrid(32, ALPS.x, ALPS.y, 60, (0, 20), (0, 20)), 6, SUMMER).astype(float)
    blocks = fine.reshape(20, 6, 20, 6).mean(axis=(1, 3))
    assert np.corrcoef(blocks.ravel(), coarse.ravel())[0, 1] > 0.97


@pytest.mark.parametrize(
    ("lon", "lat", "summer", "winter"), [(13.0, 50.0, 190, 10), (-56.0, -31.0, 10, 190)], ids=["north", "south"]
)
def test_vegetation_is_greener_in_its_hemispheres_summer(
    earth: EarthPlanet, lon: float, lat: float, summer: int, winter: int
) -> None:
    """Normalised difference of B8 and B4 over trees and grass of Bohemia and Uruguay."""
    zone = int(utm.home_zone(lon))
    x, y = (round(float(v), -1) for v in utm.forward(lon, lat, zone))
    grid = UtmGrid(zone, x, y, 10, (0, 300), (0, 300))

    def index(day: int) -> float:
        geometry = ViewGeometry(key=1, day=day, lat=lat)
        red, infrared = (earth.optical(band, grid, 1, geometry).astype(float) for band in ("B4", "B8"))
        return float(((infrared - red) / (infrared + red))[np.isin(earth.landcover(grid), (1, 2))].mean())

    assert index(summer) > index(winter) + 0.05
    assert 0.3 < index(summer) < 0.9


def test_a_cloudy_scene_has_clouds_over_about_its_share() -> None:
    geometry = ViewGeometry(key=5, day=200, lat=50.0, cloud_share=0.3)
    wide = UtmGrid(32, 400_000, 5_400_000, 10, (0, 2400), (0, 2400))

    clouds = EarthPlanet(seed=7).clouds(wide, geometry)[0] > 0.3

    assert 0.1 < clouds.mean() < 0.45


def test_numbers_of_a_scene_are_never_0(earth: EarthPlanet) -> None:
    for band in OPTICAL_BANDS:
        assert earth.optical(band, ALPS, 1, SUMMER).min() >= 1


def test_a_point_is_spread_and_its_light_is_kept() -> None:
    """0.7 of it stays in its row and 0.15 go to either neighbour; a scene 2 m too far down: 0.25 above, 0.05 below."""
    point = np.zeros((7, 7), np.float32)
    point[3, 3] = 1000

    still, moved = (seen_through(point, 1, (shift, 0.0)) for shift in (0.0, 0.2))

    assert still[2].tolist() == pytest.approx([0, 105, 490, 105, 0], abs=0.01)
    assert still.sum() == pytest.approx(1000, rel=1e-5)
    assert moved.sum(axis=1).tolist() == pytest.approx([0, 50, 700, 250, 0], abs=0.01)


def test_deep_water_is_clamped_and_clouds_over_it_are_not(earth: EarthPlanet) -> None:
    """In the Gulf of Guinea, where the planet of this seed has nothing but deep water."""
    grid = UtmGrid(31, 304_800, 399_600, 10, (-40, 40), (-40, 40))
    assert earth.truth(grid)["clamped"].all()

    clear = [earth.optical(band, grid, 1, replace(SUMMER, key=k)) for k in range(6) for band in ("B1", "B2", "B8")]
    cloudy = earth.optical("B2", grid, 1, replace(SUMMER, cloud_share=0.98))

    assert max(values.max() for values in clear) <= 256
    assert cloudy.max() > 1000


def test_a_window_has_bright_outliers(earth: EarthPlanet) -> None:
    """The median over windows of 120 px of the excess kurtosis of B4: 3.6 in real scenes, 0 for a Gaussian field."""
    found = []
    for _, grid in _tiles(60):
        values = earth.optical("B4", grid, 1, SUMMER).astype(float)[:480, :480].reshape(4, 120, 4, 120)
        centred = values - values.mean(axis=(1, 3), keepdims=True)
        found += ((centred**4).mean(axis=(1, 3)) / (centred**2).mean(axis=(1, 3)) ** 2 - 3).ravel().tolist()

    assert 2 < np.median(found) < 6


# Backscatter ----------------------------------------------------------------------------------------------------------


def _looks(count: int) -> list[ViewGeometry]:
    """One place on one day, as if seen many times: speckle alone differs (same moisture and wind come from the key)."""
    return [ViewGeometry(key=noise.key("scene", k), day=200, lat=50.0) for k in range(count)]


def test_means_over_n_scenes_scatter_by_one_over_root_n(earth: EarthPlanet) -> None:
    def residual(geometry: ViewGeometry) -> NDArray[np.float64]:
        return (earth.backscatter("VV", ALPS, geometry) - earth.sigma0("VV", ALPS, geometry)).astype(float)

    stack = np.stack([residual(geometry) for geometry in _looks(64)])

    single = stack[0].std()
    assert single == pytest.approx(2.19, abs=0.05)  # 10 / ln 10 sqrt(trigamma(4.4))
    for n in (4, 16, 64):
        assert stack[:n].mean(axis=0).std() == pytest.approx(single / np.sqrt(n), rel=0.1)


def test_speckle_of_polarisations_and_scenes_is_independent(earth: EarthPlanet) -> None:
    first, second = _looks(2)
    vv = earth.backscatter("VV", ALPS, first) - earth.sigma0("VV", ALPS, first)
    vh = earth.backscatter("VH", ALPS, first) - earth.sigma0("VH", ALPS, first)
    other = earth.backscatter("VV", ALPS, second) - earth.sigma0("VV", ALPS, second)

    for field in (vh, other):
        assert abs(np.corrcoef(vv.ravel(), field.ravel())[0, 1]) < 0.03


def test_a_radar_pixel_shows_the_truth_at_its_centre(earth: EarthPlanet) -> None:
    """An origin 3.2 m east and 4.9 m south of the lattice: the centres still lie in the same truth pixels."""
    shifted = UtmGrid(ALPS.zone, ALPS.x + 3.2, ALPS.y - 4.9, 10, (0, 100), (0, 100))
    further = UtmGrid(ALPS.zone, ALPS.x + 5.2, ALPS.y - 4.9, 10, (0, 100), (0, 100))

    assert np.array_equal(earth.landcover(shifted), earth.landcover(ALPS)[:100, :100])
    assert np.array_equal(earth.landcover(further), earth.landcover(ALPS)[:100, 1:101])


def test_a_misplaced_radar_scene_shows_the_ground_beside(earth: EarthPlanet) -> None:
    """10 m too far down and 20 m too far right: what lies one pixel up and two to the left is shown."""
    still = earth.sigma0("VV", ALPS, SUMMER)
    moved = earth.sigma0("VV", ALPS, replace(SUMMER, shift_m=(10.0, 20.0)))

    assert np.allclose(moved[1:, 2:], still[:-1, :-2], atol=0.05)  # the incidence differs by 20 m


def test_water_is_calm_near_the_noise_floor_or_rough(earth: EarthPlanet) -> None:
    """Sheltered water gives back less in VV than the sensor's noise in VH; rough water shines in VV alone."""
    levels = {m.name: (m.vv, m.vh) for m in MATERIALS if m.cover == 0}

    assert levels["clear water"][1] > levels["clear water"][0]
    assert all(vh < vv - 4 for name, (vv, vh) in levels.items() if name != "clear water")


def test_built_areas_shine_and_water_is_dark(earth: EarthPlanet) -> None:
    level: dict[int, list[float]] = {0: [], 1: [], 6: []}
    for _, grid in _tiles(40):
        vv, cover = earth.sigma0("VV", grid, SUMMER), earth.landcover(grid)
        for index, found in level.items():
            if (cover == index).sum() > 500:
                found.append(float(vv[cover == index].mean()))

    assert np.mean(level[6]) > np.mean(level[1]) + 1 > np.mean(level[0]) + 5


# Labels ---------------------------------------------------------------------------------------------------------------


def test_people_and_models_agree_about_as_much_as_published(earth: EarthPlanet) -> None:
    """Non-experts with the consensus 77.8 %, the model with the consensus 73.8 % (Brown et al. 2022)."""
    agree: dict[str, list[float]] = {"non_expert": [], "expert": [], "model": []}
    unmarked = []
    for number, (_, grid) in enumerate(_tiles(25)):
        crs, transform = utm.epsg(grid.zone, south=False), (10, 0, grid.x, 0, -10, grid.y)
        consensus = earth.annotate(crs, transform, grid.shape, "consensus", str(number))
        unmarked.append(float((consensus == 0).mean()))
        others = {
            "non_expert": earth.annotate(crs, transform, grid.shape, "non_expert", str(number)),
            "expert": earth.annotate(crs, transform, grid.shape, "expert", str(number)),
            "model": earth.model_labels(crs, transform, grid.shape, str(number)) + 1,
        }
        for name, codes in others.items():
            both = (consensus > 0) & (consensus < 10) & (codes > 0) & (codes < 10)
            agree[name].append(float((codes == consensus)[both].mean()))

    assert np.mean(agree["non_expert"]) == pytest.approx(0.778, abs=0.04)
    assert np.mean(agree["model"]) == pytest.approx(0.738, abs=0.04)
    assert np.mean(agree["expert"]) > np.mean(agree["non_expert"]) + 0.05
    assert 0.1 < np.mean(unmarked) < 0.4


def test_markup_is_the_same_each_time_and_differs_by_labeler(earth: EarthPlanet) -> None:
    place = ("EPSG:32632", (10, 0, 480_000, 0, -10, 5_300_000), (200, 200))

    first, again = (earth.annotate(*place, "expert", "dw_1") for _ in range(2))
    other = earth.annotate(*place, "non_expert", "dw_1")

    assert first.dtype == np.uint8
    assert first.max() <= 10
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# Planes ---------------------------------------------------------------------------------------------------------------


def test_planes_tell_where_a_pixel_is() -> None:
    """1,000 m east and 500 m south of the origin: 31000 + 4 x 100 - 3 x 50 in B1, + 100 for each band on."""
    planes = PlanePlanet(origin_x=500_000, origin_y=5_000_000)
    grid = UtmGrid(32, 500_995, 4_999_505, 10, (0, 1), (0, 1))

    assert planes.optical("B1", grid, 1, SUMMER).item() == 31_250
    assert planes.optical("B2", grid, 1, SUMMER).item() == 31_350
    assert planes.backscatter("VV", grid, SUMMER).item() == pytest.approx(-12 + 1.0 - 0.3)


def test_planes_are_continuous_in_other_zones() -> None:
    planes = PlanePlanet(origin_x=300_000, origin_y=5_300_000)
    x, y = (float(v) for v in utm.forward(*(v[()] for v in utm.inverse(300_000, 5_300_000, 33)), 32))

    value = planes.backscatter("VV", UtmGrid(32, x - 5, y + 5, 10, (0, 1), (0, 1)), SUMMER)

    assert value.item() == pytest.approx(-12, abs=1e-6)


def test_planes_stay_in_range_40_km_from_the_origin() -> None:
    planes = PlanePlanet(origin_x=500_000, origin_y=0)
    for x in (460_000, 540_000):
        for y in (-40_000, 40_000):
            corner = UtmGrid(31, x, y, 10, (0, 1), (0, 1))
            assert 1 < planes.optical("B12", corner, 1, SUMMER).item() < 65_535
            assert -99 < planes.backscatter("VH", corner, SUMMER).item() < 55
