"""Experts against non-experts: shares by annotator, and whose side the network takes."""

import numpy as np
from dwplus.workflow.review.annotators import Sides, as_text, by_annotator
from dwplus.workflow.review.regions import TileCounts


def test_tiles_add_up_by_annotator():
    found = by_annotator(
        [
            ("non_expert", TileCounts(100, 30, 20, 5.0)),
            ("expert", TileCounts(50, 5, 1, 0.5)),
            ("non_expert", TileCounts(100, 10, 0, 0.0)),
        ]
    )

    assert [(one.annotator, one.tiles, one.counts.wrong_share) for one in found] == [
        ("expert", 1, 0.1),
        ("non_expert", 2, 0.2),
    ]
    assert found[1].to_dict()["sure_share"] == 0.1
    assert as_text(found, Sides())[0].startswith("expert: 1 tile, the network disagrees in 10.00%")


def test_the_network_is_asked_where_two_labels_differ():
    label = np.array([[0, 0, 0, 1, 255]], np.uint8)
    others = np.array([[0, 1, 1, 0, 1]], np.uint8)
    sides = Sides()

    sides.add(label, others, np.array([[0, 0, 1, 2, 0]]))

    assert (sides.tiles, sides.both, sides.differ) == (1, 4, 3)
    assert (sides.label, sides.others, sides.neither) == (1, 1, 1)
    assert "75.00% of 4 pixels" in as_text([], sides)[-1]


def test_a_tile_that_nobody_drew_twice_counts_for_nothing():
    sides = Sides()

    sides.add(np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8), np.ones((2, 2), int))

    assert sides == Sides()
    assert as_text([], sides) == []
