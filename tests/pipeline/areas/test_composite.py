"""Composites of several pictures, against worked numbers and plain loops over pixels."""

from __future__ import annotations

import statistics
from math import dist
from typing import Any

import numpy as np
import pytest
from dwplus.pipeline.areas.composite import composite_of


def of_one_pixel(kind: Any, spectra: list[tuple[int, ...]], clear: list[bool] | None = None) -> list[int]:
    pictures = np.array(spectra, dtype=np.uint16)[:, :, None, None]
    shows = np.array([True] * len(spectra) if clear is None else clear)[:, None, None]
    found: list[int] = composite_of(kind, pictures, shows)[:, 0, 0].tolist()
    return found


def test_a_median_is_that_of_each_band_over_the_pictures_that_show_the_ground() -> None:
    assert of_one_pixel("median", [(10, 5), (30, 1), (20, 9)]) == [20, 5]
    assert of_one_pixel("median", [(10, 5), (30, 1), (20, 9)], [True, False, True]) == [15, 7]
    assert of_one_pixel("median", [(10, 5), (11, 6)]) == [11, 6]  # halves are rounded up
    assert of_one_pixel("median", [(65535, 65535), (65535, 65533)]) == [65535, 65534]


def test_a_medoid_is_the_spectrum_of_one_picture() -> None:
    """Distances 5, 10 and 5: the second is nearest to the two others."""
    assert of_one_pixel("medoid", [(1, 1), (4, 5), (7, 9)]) == [4, 5]
    assert of_one_pixel("medoid", [(1, 1), (4, 5), (7, 9)], [True, False, True]) == [1, 1]  # of equal ones the first
    # The median of these three is (2, 2), which no picture shows.
    assert of_one_pixel("medoid", [(2, 9), (9, 2), (1, 1)]) == [1, 1]


@pytest.mark.parametrize("kind", ["median", "medoid"])
def test_a_picture_without_one_band_shows_nothing_and_no_picture_gives_no_data(kind: Any) -> None:
    assert of_one_pixel(kind, [(10, 0), (30, 40)]) == [30, 40]
    assert of_one_pixel(kind, [(10, 20), (30, 40)], [False, False]) == [0, 0]
    assert of_one_pixel(kind, [(10, 0), (0, 40)]) == [0, 0]


@pytest.mark.parametrize("kind", ["median", "medoid"])
def test_all_pixels_are_those_of_a_plain_loop(kind: Any) -> None:
    rng = np.random.default_rng(0)
    pictures = rng.integers(1, 12_000, (7, 4, 9, 11)).astype(np.uint16)
    clear = rng.random((7, 9, 11)) < 0.5
    clear[:, 0] = False
    clear[:, 1] = True

    found = composite_of(kind, pictures, clear)

    for row in range(9):
        for column in range(11):
            seen = [pictures[n, :, row, column].tolist() for n in range(7) if clear[n, row, column]]
            if not seen:
                expected = [0] * 4
            elif kind == "median":
                expected = [int(statistics.median(values) + 0.5) for values in zip(*seen, strict=True)]
            else:
                expected = min(seen, key=lambda one: sum(dist(one, other) for other in seen))
            assert found[:, row, column].tolist() == expected, (row, column)
