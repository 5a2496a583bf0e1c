"""Windows along an axis, and what blending makes of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from dwplus.model.maps.mosaic import finished_rows, needed_from
from dwplus.model.maps.windows import MARGIN_PX, STEP_PX, axis
from dwplus.pipeline.errors import UsageError

LENGTHS = (1, 31, 32, 33, 255, 480, 510, 511, 512, 513, 992, 1000, 1024, 2047)
OVERLAPS = (0, 1, 31, 32, 64, 100, 255)
ORIGINS = (0, 31, 416, -4_999_999)
"""Of images, counted from the origin of their CRS."""


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_kept_parts_cover_every_pixel_with_weights_that_add_up_to_one(length: int, overlap: int) -> None:
    for origin in ORIGINS:
        windows = axis(length, overlap=overlap, origin=origin)

        total = np.zeros(length, dtype=np.float32)
        for number in range(len(windows.starts)):
            assert windows.weights(number).min() > 0
            total[windows.kept(number)] += windows.weights(number)

        np.testing.assert_allclose(total, 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_windows_lose_their_margin_on_inner_sides_and_share_the_overlap(length: int, overlap: int) -> None:
    for origin in ORIGINS:
        windows = axis(length, overlap=overlap, origin=origin)

        numbers = range(len(windows.starts))
        assert windows.padded - length < STEP_PX
        assert windows.kept(0).start == 0
        assert windows.kept(numbers[-1]).stop == length
        for number in numbers[1:-1]:
            assert windows.inside(number) == slice(MARGIN_PX, windows.size - MARGIN_PX)
        for before, after in pairwise(numbers):
            assert windows.starts[before] < windows.starts[after]
            assert windows.inside(before).stop <= windows.size - MARGIN_PX
            assert windows.inside(after).start >= MARGIN_PX
            assert windows.kept(before).stop - windows.kept(after).start >= overlap


def test_an_image_of_1000_pixels_by_hand() -> None:
    # Windows of 512 px, 32 px dropped, 64 px shared: a stride of 416. 1000 px are 1024 in steps of 32.
    windows = axis(1000)

    assert windows.starts == (0, 416, 512)
    assert [windows.kept(number) for number in range(3)] == [slice(0, 496), slice(432, 912), slice(848, 1000)]
    assert windows.padded == 1024


def test_an_image_that_begins_elsewhere_by_hand() -> None:
    # Multiples of 416 are 416 and 832; seen from pixel 100 on, they are 316 and 732, where the window of the end lies.
    windows = axis(1300, origin=100)

    assert windows.starts == (0, 316, 732, 800)
    kept = [slice(0, 396), slice(332, 812), slice(748, 1228), slice(1164, 1300)]
    assert [windows.kept(number) for number in range(4)] == kept


def test_a_window_on_the_ground_that_reaches_the_end_is_the_last_one() -> None:
    # 1230 px are 1248 in steps of 32, so that the last window would begin at 736: the one at 732 sees all of the image.
    assert axis(1230, origin=100).starts == (0, 316, 732)


@pytest.mark.parametrize(("size", "overlap"), [(512, 64), (512, 0), (512, 255), (256, 64)])
@pytest.mark.parametrize("moved", [1, 31, 32, 416, 1000])
def test_far_from_the_border_two_images_have_the_same_windows_and_weights(size: int, overlap: int, moved: int) -> None:
    here = axis(4000, size=size, overlap=overlap, origin=-77)
    there = axis(4000 - moved, size=size, overlap=overlap, origin=-77 + moved)

    def by_pixel(windows, pixel: int, origin: int) -> list[tuple[int, float]]:
        """Absolute start and weight of the windows of a pixel."""
        place = pixel - origin
        numbers = [n for n in range(len(windows.starts)) if windows.kept(n).start <= place < windows.kept(n).stop]
        return [(windows.starts[n] + origin, float(windows.weights(n)[place - windows.kept(n).start])) for n in numbers]

    # A border is felt up to where the first inner window begins, at most a window away from it.
    for pixel in range(-77 + moved + size, 4000 - 77 - size, 37):
        assert by_pixel(here, pixel, -77) == by_pixel(there, pixel, -77 + moved)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"size": 500}, "windows are 500 px; they must be a multiple of 32, 96 or more"),
        ({"size": 64}, "windows are 64 px"),
        ({"overlap": 449}, "overlap is 449 px; with windows of 512 px it must be 0 to 448"),
        ({"overlap": -1}, "overlap is -1 px"),
    ],
)
def test_windows_that_cannot_be_are_refused(settings: dict[str, int], fault: str) -> None:
    with pytest.raises(UsageError, match=fault):
        axis(1000, **settings)


def test_a_network_of_fixed_size_gets_that_size_of_a_small_image() -> None:
    assert axis(10, fixed=True).size == 512
    assert axis(10).size == 32


# --- blending ---------------------------------------------------------------------------------------------------------


def blended(height: int, width: int, overlap: int, image: np.ndarray, *, begin: int = 0, stop: int = 99) -> np.ndarray:
    """What is made of a network that gives the image itself, (K, padded height, padded width)."""
    rows, columns = axis(height, size=128, overlap=overlap), axis(width, size=128, overlap=overlap)

    numbers = range(len(rows.starts))[begin:stop]

    def windows(number: int):
        top = rows.starts[number]
        for column, left in enumerate(columns.starts):
            yield column, image[:, top : top + rows.size, left : left + columns.size]

    found = [(start, part.copy()) for start, part in finished_rows(rows, columns, len(image), windows, numbers=numbers)]
    assert [start for start, _ in found] == sorted({start for start, _ in found})
    return np.concatenate([part for _, part in found], axis=1)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 300), (300, 31), (128, 129), (333, 257), (1000, 37)])
@pytest.mark.parametrize("overlap", [0, 16, 63])
def test_an_answer_that_does_not_depend_on_the_window_comes_back_everywhere(
    height: int, width: int, overlap: int
) -> None:
    image = np.random.default_rng(0).random((3, height + 128, width + 128)).astype(np.float32)

    found = blended(height, width, overlap, image)

    np.testing.assert_allclose(found, image[:, :height, :width], rtol=0, atol=1e-6)


@pytest.mark.parametrize("cuts", [(0, 1, 99), (0, 2, 3, 99), (0, 1, 2, 3, 99)])
def test_rows_that_are_computed_apart_are_the_same_to_the_last_bit(cuts: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).random((2, 428, 328)).astype(np.float32)

    whole = blended(300, 200, 32, image)
    parts = [blended(300, 200, 32, image, begin=a, stop=b) for a, b in pairwise(cuts)]

    assert np.array_equal(np.concatenate(parts, axis=1), whole)


def test_the_rows_of_windows_that_a_row_of_the_image_needs_by_hand() -> None:
    # Windows of 128 px at 0, 64, 128, ...; 16 px are dropped: the first gives rows 0-111, the second 80-175.
    rows = axis(1000, size=128, overlap=32)

    assert [needed_from(rows, first) for first in (0, 111, 112, 175, 176)] == [0, 0, 1, 1, 2]
