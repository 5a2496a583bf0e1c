"""Sub-pixel shift: pictures moved by known parts of a pixel, by an independent route (the Fourier shift theorem)."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import rasterio
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, IGNORE
from dwplus.pipeline.validation.shift import CLEAR, Shift, edges_of_bands, edges_of_label, set_shift, shift_between
from numpy.typing import NDArray
from support.pictures import ground, moved

MOVES = [(0.0, 0.0), (0.5, 0.0), (0.25, -0.75), (-0.1, 0.3), (2.3, -3.6)]


def inside(picture: NDArray[np.float64]) -> NDArray[np.float64]:
    """One band without its borders, where moving wrapped around: (1, H, W)."""
    return picture[None, 16:-16, 16:-16]


@pytest.mark.parametrize(("dx", "dy"), MOVES)
def test_a_known_shift_is_found_to_a_hundredth_of_a_pixel(dx: float, dy: float) -> None:
    first = ground()
    second = moved(first, dx, dy)

    found = shift_between(edges_of_bands(inside(first)), edges_of_bands(inside(second)))

    assert found is not None
    assert found.clear
    assert (found.dx, found.dy) == pytest.approx((dx, dy), abs=0.015)


def test_two_sensors_that_share_edges_only_are_aligned_by_them() -> None:
    # Given a second sensor to which bright ground is dark, with its own scale and noise.
    first = ground()
    second = 30.0 - 4.0 * moved(first, 0.5, -0.25) + np.random.default_rng(1).normal(size=first.shape) * first.std()

    found = shift_between(edges_of_bands(inside(first)), edges_of_bands(inside(second)))

    assert found is not None
    assert found.clear
    assert (found.dx, found.dy) == pytest.approx((0.5, -0.25), abs=0.1)


def test_gaps_are_no_edges() -> None:
    # Given the same gap (a missing granule) in one picture only, while the ground beside it has moved.
    first = ground()
    second = inside(moved(first, 0.5, 0.5))
    second[:, :, :40] = np.nan

    found = shift_between(edges_of_bands(inside(first)), edges_of_bands(second))

    assert found is not None
    assert (found.dx, found.dy) == pytest.approx((0.5, 0.5), abs=0.03)


def test_label_edges_are_where_classes_meet_and_not_where_marking_ends() -> None:
    # Given two classes that meet between columns 15 and 16, and an unmarked right part.
    label = np.where(np.arange(64) < 16, 0, 4).astype(np.uint8)[None].repeat(64, axis=0)
    label[:, 40:] = IGNORE

    edges = edges_of_label(label)

    assert edges[32, 15] == edges[32, 16] == np.nanmax(edges) > 0
    assert np.isnan(edges[:, 45:]).all()
    assert np.nanmax(edges[:, 20:]) == 0


def test_the_border_of_two_classes_runs_through_the_middle_of_a_strip_left_unmarked() -> None:
    # Given columns 0..27 trees, 28..33 unmarked, 34..63 crops: the middle lies between columns 30 and 31.
    label = np.where(np.arange(64) < 31, 1, 4).astype(np.uint8)[None].repeat(64, axis=0)
    whole = edges_of_label(label)
    label[:, 28:34] = IGNORE

    np.testing.assert_array_equal(edges_of_label(label), whole)


def test_labels_moved_against_the_ground_are_found() -> None:
    first = ground()
    label = (first[16:-16, 16:-16] > 0).astype(np.uint8)

    found = shift_between(edges_of_label(label), edges_of_bands(inside(moved(np.tanh(9 * first), 0.5, 0.0))))

    assert found is not None
    assert found.clear
    assert (found.dx, found.dy) == pytest.approx((0.5, 0.0), abs=0.1)


def test_pictures_that_share_nothing_have_no_clear_shift() -> None:
    for seed in range(1, 9):
        found = shift_between(edges_of_bands(inside(ground())), edges_of_bands(inside(ground(seed=seed))))

        assert found is not None
        assert not found.clear


def test_nothing_to_compare_is_said() -> None:
    edges = edges_of_bands(inside(ground()))
    hidden = np.where(np.arange(128)[None, :] < 110, np.nan, edges)

    assert shift_between(edges, np.zeros((128, 128))) is None
    assert shift_between(edges, hidden) is None
    assert np.isnan(edges_of_label(np.full((16, 16), IGNORE, dtype=np.uint8))).all()


def test_the_set_is_its_clear_tiles_by_median_and_robust_spread() -> None:
    # Given five clear tiles, one of them far out, one that is not clear and one without edges.
    shifts = [Shift(dx, 0.2, 20.0) for dx in (0.1, 0.2, 0.3, 0.4, 7.0)] + [Shift(5.0, 5.0, CLEAR - 1), None]

    found = set_shift(shifts)

    # Deviations of dx from 0.3: 0, 0.1, 0.1, 0.2, 6.7; their median is 0.1.
    assert (found.tiles, found.clear, found.dx, found.dy) == (7, 5, pytest.approx(0.3), pytest.approx(0.2))
    assert (found.spread_x, found.spread_y) == (pytest.approx(0.14826), pytest.approx(0.0))
    assert found.error == pytest.approx(1.2533 * 0.14826 / 5**0.5)
    assert set_shift([None]).error == float("inf")


# --- real stacks ------------------------------------------------------------------------------------------------------


def real_chip(real_data: Path, name: str) -> dict[str, NDArray[np.float64]]:
    folder = real_data / "chips" / name
    optics, radar = rasterio.open(folder / "S2L2A.tif"), rasterio.open(folder / "S1RTC.tif")
    with optics, radar:
        return {"s2": optics.read([2, 3, 4, 8]).astype(float), "s1": radar.read().astype(float)}


@pytest.mark.parametrize("move", [(0.5, 0.0), (0.0, 0.5), (1.5, -0.5)])
def test_real_radar_moved_against_real_optics_is_found_moved_by_as_much(
    real_data: Path, move: tuple[float, float]
) -> None:
    chip = real_chip(real_data, "terramesh_38D_378R_2_3")
    optics = edges_of_bands(chip["s2"])
    before = shift_between(optics, edges_of_bands(chip["s1"]))
    after = shift_between(optics, edges_of_bands(np.stack([moved(band, *move) for band in chip["s1"]])))

    assert before is not None
    assert after is not None
    assert before.clear
    assert after.clear
    assert (after.dx - before.dx, after.dy - before.dy) == pytest.approx(move, abs=0.12)


def test_real_pairs_of_different_places_are_never_clear(real_data: Path) -> None:
    chips = [real_chip(real_data, n) for n in ("terramesh_38D_378R_2_3", "terramesh_282D_485L_3_3")]
    first, second = ({name: edges_of_bands(bands) for name, bands in chip.items()} for chip in chips)

    for a, b in product(first.values(), second.values()):
        for turned in (b, b[::-1], b[:, ::-1], b[::-1, ::-1]):
            found = shift_between(a, turned)
            assert found is not None
            assert not found.clear


def test_real_optics_moved_against_a_label_of_the_same_scene_are_found_moved_by_as_much(real_data: Path) -> None:
    name = "terramesh_282D_485L_3_3"
    optics = real_chip(real_data, name)["s2"]
    with rasterio.open(real_data / "chips" / name / "DWMODEL_label.tif") as file:
        label = edges_of_label(file.read(1))
    before = shift_between(label, edges_of_bands(optics))
    after = shift_between(label, edges_of_bands(np.stack([moved(band, 0.5, 0.0) for band in optics])))

    assert before is not None
    assert after is not None
    assert before.clear
    assert after.clear
    assert (after.dx - before.dx, after.dy - before.dy) == pytest.approx((0.5, 0.0), abs=0.05)


def real_tile(real_data: Path, name: str) -> tuple[NDArray[np.float64], NDArray[np.floating]]:
    """Optics and the edges of the label that people drew."""
    folder = real_data / "dynamic_world_tiles"
    with rasterio.open(folder / f"{name}.tif") as label, rasterio.open(folder / f"{name}.s2_l2a.tif") as optics:
        stored = optics.read([2, 3, 4, 8])
        return np.where(stored == 0, np.nan, stored), edges_of_label(DYNAMIC_WORLD.class_indices(label.read(1)))


def test_a_label_drawn_by_people_lies_within_a_pixel_of_its_scene(real_data: Path) -> None:
    bands, label = real_tile(real_data, "dw_111.8412562864_-8.1289167721-20190713")
    found = shift_between(edges_of_bands(bands), label)

    assert found is not None
    assert found.clear
    assert (found.dx, found.dy) == pytest.approx((0.61, -0.21), abs=0.02)

    # And its scene, taken from one pixel further west, makes it lie one pixel further west.
    west = shift_between(edges_of_bands(bands[:, :, :-1]), label[:, 1:])
    assert west is not None
    assert west.dx - found.dx == pytest.approx(-1.0, abs=0.1)


def test_a_label_with_few_borders_claims_no_shift(real_data: Path) -> None:
    # Given a tile of trees, 3 % of it built.
    bands, label = real_tile(real_data, "dw_-2.7415152153_5.6549699454-20181226")

    assert shift_between(edges_of_bands(bands), label) is None
