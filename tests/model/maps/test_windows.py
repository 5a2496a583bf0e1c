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


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_kept_parts_cover_every_pixel_with_weights_that_add_up_to_one(length: int, overlap: int) -> None:
    windows = axis(length, overlap=overlap)

    total = np.zeros(length, dtype=np.float32)
    for number in range(len(windows.starts)):
        assert windows.weights(number).min() > 0
        total[windows.kept(number)] += windows.weights(number)

    assert total == pytest.approx(np.ones(length), abs=1e-6)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("overlap", OVERLAPS)
def test_windows_begin_at_multiples_of_32_and_lose_their_margin_on_inner_sides_alone(length: int, overlap: int) -> None:
    windows = axis(length, overlap=overlap)

    assert all(start % STEP_PX == 0 for start in windows.starts)
    assert windows.padded - length < STEP_PX
    for number, start in enumerate(windows.starts):
        inside = windows.inside(number)
        assert inside.start == (0 if start == 0 else MARGIN_PX)
        last = number == len(windows.starts) - 1
        assert inside.stop == (length - start if last else windows.size - MARGIN_PX)
    for before, after in zip(range(len(windows.starts)), range(1, len(windows.starts)), strict=False):
        assert windows.kept(before).stop - windows.kept(after).start >= overlap


def test_an_image_of_1000_pixels_by_hand() -> None:
    # Windows of 512 px, 32 px dropped, 64 px shared: a stride of 416. 1000 px are 1024 in steps of 32.
    windows = axis(1000)

    assert windows.starts == (0, 416, 512)
    assert [windows.kept(number) for number in range(3)] == [slice(0, 496), slice(432, 912), slice(528, 1000)]
    assert windows.padded == 1024


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

    assert found == pytest.approx(image[:, :height, :width], abs=1e-6)


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
