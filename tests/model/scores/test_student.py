"""Student's distribution against scipy and a printed table."""

from __future__ import annotations

import pytest
from dwplus.model.scores.student import quantile, two_sided_p


@pytest.mark.parametrize(("freedom", "printed"), [(1, 12.706), (2, 4.303), (10, 2.228), (30, 2.042), (120, 1.980)])
def test_quantiles_are_those_of_the_printed_table(freedom: float, printed: float):
    assert quantile(0.05, freedom) == pytest.approx(printed, abs=5e-4)


@pytest.mark.parametrize("freedom", [1, 2.5, 9, 40, 1000])
@pytest.mark.parametrize("t", [0.0, 0.3, 1.9, -4.0, 30.0])
def test_probabilities_are_scipys(freedom: float, t: float):
    stats = pytest.importorskip("scipy.stats")

    assert two_sided_p(t, freedom) == pytest.approx(2 * stats.t.sf(abs(t), freedom), rel=1e-9, abs=1e-14)
