"""Released codes and class indices."""

import numpy as np
from dwplus.pipeline.spec.classes import DYNAMIC_WORLD, IGNORE


def test_codes_one_to_nine_are_classes_and_the_rest_is_ignored() -> None:
    codes = np.array([[0, 1, 2, 9, 10]], dtype=np.uint8)

    assert DYNAMIC_WORLD.class_indices(codes).tolist() == [[IGNORE, 0, 1, 8, IGNORE]]


def test_marked_share_leaves_out_unmarked_and_cloud() -> None:
    assert DYNAMIC_WORLD.marked_share(np.array([[0, 10, 1, 7]], dtype=np.uint8)) == 0.5


def test_class_names_and_colours_are_those_of_dynamic_world() -> None:
    assert [c.name for c in DYNAMIC_WORLD.classes][:3] == ["water", "trees", "grass"]
    assert DYNAMIC_WORLD.classes[6].rgb == (0xC4, 0x28, 0x1B)
    assert set(DYNAMIC_WORLD.code_colours) == set(range(11))
