"""Regions of a tile that a sure network contradicts, worked out by hand."""

import numpy as np
import pytest
from dwplus.workflow.review.regions import Rule, Sureness, TileCounts, reviewed

WATER, TREES, CROPS, IGNORED = 0, 1, 2, 255
RULE = Rule(confidence=0.8, size_px=4)
AREA = np.full((8, 8), 0.01)


def says(classes: np.ndarray, sure: float | np.ndarray = 0.9) -> np.ndarray:
    """Probabilities (3, H, W) of a network that gives each pixel a class, the rest shared by the two others."""
    sure = np.broadcast_to(sure, classes.shape)
    found = np.repeat(((1 - sure) / 2)[None], 3, axis=0)
    np.put_along_axis(found, classes[None].astype(np.intp), sure[None], axis=0)
    return found.astype(np.float32)


def test_a_square_that_is_labelled_as_something_else_is_one_region():
    label = np.full((8, 8), TREES, np.uint8)
    label[2:5, 1:4] = WATER  # flipped: the network sees trees everywhere

    counts, (region,) = reviewed(label, says(np.full((8, 8), TREES)), AREA, RULE)

    assert (region.label, region.predicted, region.pixels) == (WATER, TREES, 9)
    assert region.outline.bounds == (1, 2, 4, 5)  # x = column, y = row
    assert region.confidence == pytest.approx(0.9)
    assert region.weight == pytest.approx(9 * (0.9 - 0.05))
    assert region.hectares == pytest.approx(0.09)
    assert (counts.labelled, counts.wrong, counts.sure) == (64, 9, 9)


def test_groups_that_touch_at_a_corner_or_differ_in_a_class_are_regions_of_their_own():
    predicted = np.full((8, 8), TREES)
    label = np.full((8, 8), TREES, np.uint8)
    label[0:2, 0:2], label[2:4, 2:4] = WATER, WATER  # touch at a corner
    label[2:4, 4:6] = CROPS  # beside the second

    _, regions = reviewed(label, says(predicted), AREA, RULE)

    assert sorted((r.label, r.pixels) for r in regions) == [(WATER, 4), (WATER, 4), (CROPS, 4)]


def test_small_groups_unsure_pixels_and_pixels_without_a_label_are_no_region():
    label = np.full((8, 8), TREES, np.uint8)
    label[0, 0:3] = WATER  # three pixels
    label[3:5, 0:4] = WATER  # of which the network is sure in three
    label[6:8, 0:4] = IGNORED
    sure = np.full((8, 8), 0.9)
    sure[3:5, 0:4] = 0.7
    sure[3, 0:3] = 0.9

    counts, regions = reviewed(label, says(np.full((8, 8), TREES), sure), AREA, RULE)

    assert regions == []
    assert (counts.labelled, counts.wrong, counts.sure) == (56, 11, 6)
    assert (counts.wrong_share, counts.sure_share) == (11 / 56, 6 / 56)


def test_the_pixels_of_a_hole_do_not_belong_to_a_region():
    label = np.full((8, 8), WATER, np.uint8)
    label[1:4, 1:4] = TREES
    sure = np.full((8, 8), 0.9)
    sure[2, 2] = 0.5

    _, regions = reviewed(label, says(np.full((8, 8), CROPS), sure), AREA, RULE)

    assert sorted((r.label, r.pixels, round(r.outline.area)) for r in regions) == [(WATER, 55, 55), (TREES, 8, 8)]
    assert all(r.confidence == pytest.approx(0.9) for r in regions)


def test_a_tile_without_labels_has_no_shares():
    counts, regions = reviewed(np.full((8, 8), IGNORED, np.uint8), says(np.zeros((8, 8), int)), AREA, RULE)

    assert (counts, regions) == (TileCounts(0, 0, 0, 0.0), [])
    assert (counts.wrong_share, counts.sure_share) == (0, 0)


def test_a_network_that_is_never_so_sure_says_how_sure_it_is():
    """Of ten contradicted pixels, one has a confidence of 0.7, the others of 0.5."""
    label = np.full((1, 12), TREES, np.uint8)
    predicted, sure = np.full((1, 12), CROPS), np.full((1, 12), 0.505)
    sure[0, 0], predicted[0, 10], label[0, 11] = 0.705, TREES, IGNORED
    sure[0, 10:] = 0.99
    found = Sureness()
    assert found.reached_in(0.05) is None

    found.add(label, says(predicted, sure))

    assert (found.pixels.sum(), found.reached_in(0.05), found.reached_in(0.5)) == (10, 0.7, 0.5)
