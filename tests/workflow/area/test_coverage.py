"""1,000 simulated samples of a map whose truth is known: intervals hold it, or a warning says that they may not."""

import numpy as np
import pytest
from area_coverage import Coverage, World, judged, simulate

NAMES = ("forest", "water", "crops", "ponds")

CONFUSION = np.array(
    [  # rows the map, columns the truth, pixels
        [50_000, 300, 3_000, 40],
        [300, 12_000, 100, 10],
        [2_500, 200, 40_000, 20],
        [10, 10, 10, 800],
    ]
)


def world() -> World:
    mapped, truth = (np.repeat(axis.ravel(), CONFUSION.ravel()) for axis in np.indices(CONFUSION.shape))
    return World(truth, mapped, mapped, NAMES)


@pytest.fixture(scope="module")
def found() -> dict[str, Coverage]:
    rng = np.random.default_rng(5)
    rows = simulate(world(), points=1_000, minimum=75, samples=1_000, rng=rng)
    assert list(judged(rows)) == []
    return {one.name: one for one in rows}


def test_areas_with_five_expected_omission_points_are_covered(found: dict[str, Coverage]) -> None:
    # 500 pixels of water are missed, each drawn with a probability of about 0.0085.
    assert [name for name, one in found.items() if one.full >= 5] == ["forest", "crops"]
    for name in ("forest", "crops"):
        assert 0.93 <= found[name].area <= 0.97
        assert 0.93 <= found[name].producers <= 0.97
        assert found[name].warned < 0.01


def test_classes_with_fewer_are_warned_of(found: dict[str, Coverage]) -> None:
    assert 4 < found["water"].full < 5
    assert found["ponds"].full < 1
    assert min(found["water"].warned, found["ponds"].warned) >= 0.95
    assert found["ponds"].area < 0.9  # which is what the warning is for
