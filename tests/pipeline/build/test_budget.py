"""Budgets: what was measured, what a build will take, and when a run has to stop."""

from datetime import datetime, timedelta

import pytest
from dwplus.pipeline.build.budget import Budget, Measured, estimate, measured, parse_until, used_eecu_hours
from dwplus.pipeline.dataset.ledger import LedgerRow

START = datetime(2026, 1, 2, 3, 0, 0)


def row(second: float, *, eecu_s: float = 0.0, state: str = "done", recipe: str = "r") -> LedgerRow:
    """A tile that was settled so many seconds after the start."""
    moment = (START + timedelta(seconds=second)).isoformat() + "+00:00"
    return LedgerRow(
        f"t{second}", state, recipe=recipe, requests=2, received=8_323_200, bytes=4_000_000, eecu_s=eecu_s, time=moment
    )


def test_figures_come_from_the_tiles_that_were_asked_for() -> None:
    # Given ten tiles, one every 6 s, of which two were measured: 30 and 50 EECU-s.
    events = [row(6 * n, eecu_s={3: 30.0, 7: 50.0}.get(n, 0.0)) for n in range(10)]

    known = measured(events, "r")

    assert (known.tiles, known.shard_bytes, known.metered) == (10, 4e6, 2)
    assert known.tiles_per_hour == pytest.approx(600)
    assert known.eecu_s == 40
    assert known.eecu_s_error == pytest.approx(10)  # standard deviation 14.14 over the root of 2


def test_throughput_is_that_of_the_last_stretch() -> None:
    # Given five slow tiles, a night's pause, and five tiles a second apart.
    events = [row(100 * n) for n in range(5)] + [row(40_000 + n) for n in range(5)]

    assert measured(events, "r").tiles_per_hour == pytest.approx(3600)


def test_tiles_that_failed_at_once_are_no_throughput() -> None:
    # Given five tiles, one every 6 s, and a hundred that were refused within a second.
    events = [row(6 * n) for n in range(5)] + [row(24 + n / 100, state="failed") for n in range(100)]

    assert measured(events, "r").tiles_per_hour == pytest.approx(600)
    assert measured(events[5:], "r").tiles_per_hour == 0


def test_another_recipe_tells_nothing() -> None:
    assert measured([row(0, recipe="other"), row(1, recipe="other")], "r") == Measured()


def test_what_was_measured_is_extrapolated_with_its_uncertainty() -> None:
    known = Measured(tiles=50, shard_bytes=4e6, metered=50, eecu_s=72.0, eecu_s_error=3.6, tiles_per_hour=2000.0)

    will = estimate(1000, known, concurrency=20)

    assert (will.tiles, will.requests) == (1000, 2000)
    assert will.received_gb == pytest.approx(8.3232)
    assert (will.disk_gb.low, will.disk_gb.high) == (4.0, 4.0)
    assert will.hours.low == 0.5
    assert (will.eecu_hours.low, will.eecu_hours.high) == (pytest.approx(18.0), pytest.approx(22.0))
    assert will.eecu_hours.is_measured


def test_what_was_not_measured_is_called_a_guess() -> None:
    will = estimate(24_603, Measured(), concurrency=20)

    assert not will.eecu_hours.is_measured
    assert "not measured" in will.eecu_hours.basis
    assert "guess" in will.hours.basis
    assert will.eecu_hours.figures == "205-10,661"
    assert will.hours.figures == "1.71-6.83"


def test_a_run_stops_before_the_budget_is_spent_also_by_what_is_in_flight() -> None:
    # Given a budget of 100 EECU-s and tiles of 10.
    budget = Budget(max_eecu_hours=100 / 3600)
    for second in range(5):
        assert budget.measure()
        budget.spent(row(second, eecu_s=10.0))

    assert budget.why_stop(in_flight=4) == ""
    assert "is used up" in budget.why_stop(in_flight=5)  # 50 spent, 50 in flight, 10 for the next


def test_until_a_tile_is_measured_tiles_go_one_by_one() -> None:
    budget = Budget(max_eecu_hours=1)

    assert not budget.must_wait(in_flight=0)
    assert budget.must_wait(in_flight=1)
    budget.spent(row(0, eecu_s=10.0))
    assert not budget.must_wait(in_flight=1)
    assert not Budget(measure_all=True).must_wait(in_flight=1)


def test_after_the_first_ten_one_tile_in_ten_is_measured() -> None:
    budget = Budget(max_eecu_hours=1000)
    asked = 0
    for second in range(100):
        measure = budget.measure()
        asked += measure
        budget.spent(row(second, eecu_s=10.0 if measure else 0.0))

    assert asked == 10 + 9
    assert budget.eecu_s == pytest.approx(1000)  # the others at the mean of those


def test_a_service_that_tells_no_cost_cannot_keep_a_budget() -> None:
    budget = Budget(max_eecu_hours=1)
    for second in range(10):
        budget.measure()
        budget.spent(row(second))

    assert "does not report what requests cost" in budget.why_stop(0)


def test_a_run_ends_at_its_time() -> None:
    now = [datetime(2026, 11, 27, 6, 59)]
    budget = Budget(until=datetime(2026, 11, 27, 7, 0), now=lambda: now[0])

    assert budget.why_stop(3) == ""
    assert not budget.measure()
    now[0] = datetime(2026, 11, 27, 7, 0)
    assert budget.why_stop(3) == "it is 07:00, the end that --until sets"


def test_a_pilot_measures_every_tile() -> None:
    budget = Budget(measure_all=True)

    assert all(budget.measure() for _ in range(50))
    assert budget.why_stop(20) == ""


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("07:30", datetime(2026, 11, 28, 7, 30)),  # tomorrow: it is later today
        ("19:00", datetime(2026, 11, 27, 19, 0)),
        ("2026-11-30T07:00", datetime(2026, 11, 30, 7, 0)),
    ],
)
def test_times_are_the_next_ones(text: str, moment: datetime) -> None:
    assert parse_until(text, datetime(2026, 11, 27, 18, 0)) == moment


@pytest.mark.parametrize("text", ["tomorrow", "2026-11-01", "25:00"])
def test_times_that_are_none_or_have_passed_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"passed|Invalid|format|range"):
        parse_until(text, datetime(2026, 11, 27, 18, 0))


def test_the_use_so_far_counts_unmeasured_tiles_at_the_mean() -> None:
    used = used_eecu_hours([row(0, eecu_s=36.0), row(1), row(2, eecu_s=36.0), row(3, state="failed")])

    assert used is not None
    assert used.low == pytest.approx(4 * 36 / 3600)
    assert used.basis == "measured on 2 of 4 tiles"
    assert used_eecu_hours([row(0)]) is None
