"""Tiles as pictures: true colour, classes, small files."""

import io

import numpy as np
import pytest
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD
from dwplus.workflow.pages.pixels import class_colours, class_map, photograph, smaller, true_colour
from PIL import Image


def test_true_colour_stretches_the_tile_and_shows_no_data_black() -> None:
    stored = np.full((3, 10, 10), 500, dtype=np.uint16)
    stored[:, 5:] = 2500
    stored[:, 0, 0] = 0

    picture = true_colour(stored)

    assert picture.shape == (10, 10, 3)
    assert (picture[0, 0], picture[1, 1], picture[9, 9]) == (pytest.approx(0), pytest.approx(0), pytest.approx(1))


def test_classes_have_their_official_colours_and_ignored_pixels_are_grey() -> None:
    picture = class_colours(np.array([[0, 6, 255]], dtype=np.uint8))

    assert picture[0, 0] * 255 == pytest.approx(DYNAMIC_WORLD.classes[0].rgb)
    assert picture[0, 1] * 255 == pytest.approx(DYNAMIC_WORLD.classes[6].rgb)
    assert picture[0, 2] == pytest.approx((0.93, 0.93, 0.93))


def test_a_map_of_classes_keeps_indices_and_colours() -> None:
    indices = np.array([[0, 6], [254, 255]], dtype=np.uint8)

    picture = Image.open(io.BytesIO(class_map(indices, more={254: (1, 2, 3)})))

    assert np.array_equal(np.array(picture), indices)
    colours = np.array(picture.convert("RGB"))
    assert tuple(colours[0, 1]) == DYNAMIC_WORLD.classes[6].rgb
    assert tuple(colours[1, 0]) == (1, 2, 3)
    assert tuple(colours[1, 1]) == (237, 237, 237)


def test_a_smaller_picture_has_the_means_of_blocks() -> None:
    picture = np.array([[0.0, 0.2, 1.0, 1.0, 9.0], [0.4, 0.2, 1.0, 1.0, 9.0]], dtype=np.float32)

    # Five columns to at most three: blocks of 2 x 2; the column that fills no block is left out.
    assert smaller(picture, 3) == pytest.approx(np.array([[0.2, 1.0]]))
    assert Image.open(io.BytesIO(photograph(picture.clip(0, 1)))).size == (5, 2)
