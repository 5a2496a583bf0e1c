"""Areas and accuracies: printed examples of two papers, and the same figures computed in another way."""

import math

import numpy as np
import pytest
from dwplus.workflow.area.estimators import (
    UNDECIDED,
    Estimate,
    Sample,
    area_bounds,
    estimate,
    from_matrix,
    overall_bounds,
    producers_bounds,
    users_bounds,
)

# Olofsson et al. 2014, tables 8 and 9: deforestation, forest gain, stable forest, stable non-forest; pixels of 30 m.
MATRIX = [[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]
MAPPED_PX = [200_000, 150_000, 3_200_000, 6_450_000]
HECTARES = 0.09

# Stehman 2014, table 2: four strata of ten points, which are not the classes of the map.
STRATA = "A" * 10 + "B" * 10 + "C" * 10 + "D" * 10
MAP = "A" * 7 + "B" * 3 + "A" + "B" * 11 + "C" * 6 + "B" * 2 + "D" * 10
REFERENCE = "AAAAACBABC" + "ABBBBBAABB" + "CCCCCDDBBA" + "DDDDDDDCCB"
STRATA_PX = [40_000, 30_000, 20_000, 10_000]


def margin(one: Estimate) -> float:
    return 1.96 * one.standard_error


def stehman(size: np.ndarray | None = None) -> Sample:
    stratum, mapped, reference = (np.array(["ABCD".index(c) for c in text]) for text in (STRATA, MAP, REFERENCE))
    return Sample(
        np.array(STRATA_PX, dtype=float), np.array(STRATA_PX), stratum, mapped, reference,
        np.ones(40) if size is None else size, 4,
    )  # fmt: skip


def test_the_example_of_olofsson_2014_to_the_printed_digit() -> None:
    found = estimate(from_matrix(MATRIX, MAPPED_PX))

    areas = [one.area for one in found.classes]
    assert (round(areas[0].value), round(margin(areas[0]))) == (235_086, 68_418)
    assert [round(a.value * HECTARES) for a in areas] == [21_158, 11_686, 285_770, 581_386]
    assert [round(margin(a) * HECTARES) for a in areas] == [6_158, 3_756, 15_510, 16_282]
    assert (round(found.overall.value, 4), round(margin(found.overall), 4)) == (0.9465, 0.0185)
    users, producers = ([getattr(one, which) for one in found.classes] for which in ("users", "producers"))
    assert [round(one.value, 2) for one in users] == [0.88, 0.73, 0.93, 0.96]
    assert [round(margin(one), 2) for one in users] == [0.07, 0.10, 0.04, 0.02]
    assert [round(one.value, 4) for one in producers] == [0.7487, 0.8472, 0.9345, 0.9616]
    assert [one.omission_points for one in found.classes] == [3, 1, 22, 27]


def test_areas_of_all_classes_sum_to_the_map() -> None:
    found = estimate(from_matrix(MATRIX, MAPPED_PX))

    assert sum(one.area.value for one in found.classes) == pytest.approx(10_000_000)


def test_standard_errors_of_producers_accuracy_are_those_of_the_papers_own_formula() -> None:
    # Olofsson et al. 2014, equation 7, written out for each class (spreadsheets in circulation have it wrong).
    found = estimate(from_matrix(MATRIX, MAPPED_PX))
    n = np.array(MATRIX, dtype=float)
    N, rows = np.array(MAPPED_PX, dtype=float), n.sum(axis=1)

    for j, one in enumerate(found.classes):
        of_j = (N * n[:, j] / rows).sum()
        u, p = n[j, j] / rows[j], one.producers.value
        own = N[j] ** 2 * (1 - p) ** 2 * u * (1 - u) / (rows[j] - 1)
        others = sum(
            N[i] ** 2 * n[i, j] / rows[i] * (1 - n[i, j] / rows[i]) / (rows[i] - 1) for i in range(4) if i != j
        )
        assert one.producers.standard_error == pytest.approx(math.sqrt(own + p**2 * others) / of_j)


def test_the_example_of_stehman_2014_to_the_printed_digit() -> None:
    found = estimate(stehman())

    a, b, c, _ = found.classes
    assert (round(found.overall.value, 2), round(found.overall.standard_error, 3)) == (0.63, 0.085)
    assert (round(a.area.value / 1e5, 2), round(a.area.standard_error / 1e5, 3)) == (0.35, 0.082)
    assert (round(c.area.value / 1e5, 2), round(c.area.standard_error / 1e5, 3)) == (0.20, 0.064)
    assert (round(b.users.value, 3), round(b.users.standard_error, 3)) == (0.574, 0.125)
    assert round(b.producers.value, 3) == 0.794


def by_hand(sample: Sample, y: np.ndarray, x: np.ndarray) -> tuple[float, float]:
    """Ratio of two Horvitz-Thompson totals and its standard error, point by point, stratum by stratum."""
    total_y = total_x = 0.0
    counts = [list(sample.stratum).count(h) for h in range(len(sample.areas))]
    for h, y_u, x_u in zip(sample.stratum, y, x, strict=True):
        weight = sample.areas[h] / counts[h]  # 1 / inclusion probability
        total_y += weight * y_u
        total_x += weight * x_u
    r = total_y / total_x
    variance = 0.0
    for h, n in enumerate(counts):
        here = [k for k in range(len(sample)) if sample.stratum[k] == h]
        s_yy = sum((y[k] - sum(y[here]) / n) ** 2 for k in here) / (n - 1)
        s_xx = sum((x[k] - sum(x[here]) / n) ** 2 for k in here) / (n - 1)
        s_xy = sum((y[k] - sum(y[here]) / n) * (x[k] - sum(x[here]) / n) for k in here) / (n - 1)
        N = sample.areas[h]
        variance += N**2 * (1 - n / N) * (s_yy + r**2 * s_xx - 2 * r * s_xy) / n
    return r, math.sqrt(variance) / total_x


def test_ratios_are_those_of_a_direct_computation() -> None:
    sample = stehman()
    found = estimate(sample)

    for k, one in enumerate(found.classes):
        mapped, reference = (sample.mapped == k).astype(float), (sample.reference == k).astype(float)
        for figure, below in ((one.users, mapped), (one.producers, reference)):
            assert (figure.value, figure.standard_error) == pytest.approx(by_hand(sample, mapped * reference, below))
        share, error = by_hand(sample, reference, np.ones(40))
        assert (one.area.value, one.area.standard_error) == pytest.approx((share * 1e5, error * 1e5))


def test_a_point_counts_with_the_area_of_its_pixel() -> None:
    # One stratum of 100 ha, four points; the pixel of the only point of class 0 is twice as large as each other one.
    size = np.array([2.0, 1.0, 1.0, 1.0])
    sample = Sample(np.array([100.0]), None, np.zeros(4, int), np.zeros(4, int), np.array([0, 1, 1, 1]), size, 2)

    area = estimate(sample).classes[0].area

    assert area.value == pytest.approx(40)
    # e = a / mean(a) (y - 0.4), mean(a) = 1.25: 0.96, -0.32 three times; s2 = (0.9216 + 3 * 0.1024) / 3 = 0.4096
    assert area.standard_error == pytest.approx(100 * math.sqrt(0.4096 / 4))


def test_a_district_is_a_ratio_to_its_own_known_area() -> None:
    sample = stehman()
    inside = np.arange(40) % 2 == 0

    found = estimate(sample, inside, 1_000.0)

    assert found.points == 20
    assert sum(one.area.value for one in found.classes) == pytest.approx(1_000)
    r, error = by_hand(sample, (inside & (sample.reference == 1)).astype(float), inside.astype(float))
    assert (found.classes[1].area.value, found.classes[1].area.standard_error) == pytest.approx((1e3 * r, 1e3 * error))


def test_a_stratum_that_was_drawn_as_a_whole_has_no_sampling_error() -> None:
    sample = Sample(
        np.array([4.0]), np.array([4]), np.zeros(4, int), np.zeros(4, int), np.array([0, 1, 1, 1]), np.ones(4), 2
    )

    assert estimate(sample).classes[0].area == Estimate(1.0, 0.0, most=4.0)


def test_undecided_points_widen_what_is_known() -> None:
    # Ten points of one stratum, 100 ha: six class 0, two class 1, two undecided; the map says class 0 everywhere.
    reference = np.array([0] * 6 + [1] * 2 + [UNDECIDED] * 2)
    sample = Sample(np.array([100.0]), None, np.zeros(10, int), np.zeros(10, int), reference, np.ones(10), 2)

    def interval(p: float) -> tuple[float, float]:
        half = 1.959963984540054 * math.sqrt(p * (1 - p) / 9)
        return max(0, p - half), min(1, p + half)

    bounds = area_bounds(sample, 0)
    assert (bounds.low, bounds.high) == pytest.approx((100 * interval(0.6)[0], 100 * interval(0.8)[1]))
    assert (overall_bounds(sample).low, overall_bounds(sample).high) == pytest.approx(
        (interval(0.6)[0], interval(0.8)[1])
    )
    assert users_bounds(sample, 0) == overall_bounds(sample)
    # No point is missed by the map: 0 of 6, and of 8.
    assert (producers_bounds(sample, 0).low, producers_bounds(sample, 0).high) == pytest.approx((0.025 ** (1 / 6), 1))


def test_points_that_all_agree_give_the_interval_of_clopper_and_pearson() -> None:
    # 30 points of water are right, none is snow: (0.025)^(1/30) = 0.884.
    found = estimate(from_matrix([[30, 0, 0], [10, 60, 0], [0, 0, 0]], [100.0, 200.0, 0.0]))

    water = found.classes[0].users
    assert (water.value, water.standard_error, round(water.low, 3), water.high) == (1.0, 0.0, 0.884, 1.0)
    # At the weight of a point of water, 100 / 30 ha, the 300 ha are 90 points.
    snow = found.classes[2].area
    assert (snow.value, snow.low, snow.high) == (0.0, 0.0, pytest.approx(300 * (1 - 0.025 ** (1 / 90))))
