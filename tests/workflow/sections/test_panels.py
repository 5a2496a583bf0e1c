"""Fig. 7: the box that the rule chooses, maps that leave classes open, words for pictures."""

import numpy as np
import pytest
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, IGNORE
from dwplus.pipeline.spec.layers import products
from dwplus.workflow.pages.pixels import TileView
from dwplus.workflow.pages.sections.panels import (
    BOX_PX,
    MERGED,
    box_of,
    merged_title,
    panel_rows,
    pictured,
    shares_in_words,
)


def filled(value: int, side: int = 256) -> np.ndarray:
    return np.full((side, side), value, np.uint8)


def test_the_box_lies_where_most_classes_are_said() -> None:
    # Given three networks that differ from each other in the last 100 x 100 px, and two that differ elsewhere.
    one, two, three = filled(0), filled(0), filled(0)
    one[156:, 156:], two[156:, 156:], three[:90, :90] = 1, 2, 3

    # 2 x 10,000 px of one class more, against 8,100.
    assert box_of([one, two, three], filled(0)) == (slice(128, 256), slice(128, 256))


def test_one_network_is_set_against_the_label_and_unmarked_pixels_say_nothing() -> None:
    label, said = filled(IGNORE), filled(0)
    label[100:228, 60:188], said[100:228, 60:188] = 5, 4

    rows, columns = box_of([said], label)

    assert (rows.start, columns.start) == (96, 64)
    assert rows.stop - rows.start == BOX_PX
    assert box_of([], label) == (slice(0, BOX_PX), slice(0, BOX_PX))
    assert box_of([filled(0, 32)], filled(1, 32)) == (slice(0, 32), slice(0, 32))


def test_a_map_that_leaves_grass_or_shrub_open_is_drawn_between_them() -> None:
    esri = products()["esri"]
    (rangeland,) = (code for code, names in esri.codes.items() if len(names) > 1)
    (water,) = (code for code, names in esri.codes.items() if names == ("water",))

    indices = pictured(np.array([[water, rangeland, 255]], np.uint8), esri)

    assert indices.tolist() == [[0, MERGED, IGNORE]]
    assert merged_title() == "grass or shrub and scrub"
    assert shares_in_words(indices, DYNAMIC_WORLD) == "water 50%, grass or shrub and scrub 50%"


def test_pictures_are_said_in_words() -> None:
    label = filled(1, 64)
    label[:16] = 0
    view = TileView(
        "tile", np.full((3, 64, 64), 900, np.uint16), np.full((64, 64), 8800, np.uint16), label, {"a": None}
    )

    (row,) = panel_rows([view])

    assert [panel.title for panel in row.panels] == ["Sentinel-2, true colour", "Sentinel-1, mean VV", "label"]
    assert row.panels[2].said == "label of tile: trees 75%, water 25%"
    assert row.box == pytest.approx((0, 0, 100, 100))
    assert all(panel.picture.startswith("data:image/") for panel in row.panels)
