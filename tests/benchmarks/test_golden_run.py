"""Which numbers of two reproductions differ."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
from support.paths import REPOSITORY

NUMBER = {
    "key": "table1.cmx.oa",
    "paper": "77.61",
    "verdict": "synthetic",
    "ours": 61.25,
    "values": [61.25],
    "interval": [55.0, 66.0],
    "of": "cmx",
    "unlike": [],
    "needs": {"gpu_hours": 28.0},
}
BEFORE = {"scope": "sandbox", "source": "SANDBOX", "numbers": [NUMBER]}


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import golden_run

    return golden_run.moved


def changed(**values: Any) -> dict[str, Any]:
    after = deepcopy(BEFORE)
    after["numbers"][0].update(values)
    return after


def test_nothing_moved_in_two_equal_runs(moved: Callable[..., list[str]]) -> None:
    assert moved(BEFORE, deepcopy(BEFORE)) == []
    assert moved(BEFORE, changed(needs={"gpu_hours": 30.0})) == []  # words about a number


def test_a_number_that_moved_is_named(moved: Callable[..., list[str]]) -> None:
    after = changed(ours=61.5, values=[61.5])

    assert moved(BEFORE, after)[0] == "table1.cmx.oa: ours 61.25 before, 61.5 after"
    assert moved(BEFORE, after, tolerance=0.3) == []
    assert moved(BEFORE, after, may_move=["table1.cmx"]) == []
    assert len(moved(BEFORE, after, may_move=["table1.cm"])) == 2  # no part of a key


def test_a_number_that_is_new_or_gone_is_named(moved: Callable[..., list[str]]) -> None:
    none = {**BEFORE, "numbers": []}

    assert moved(BEFORE, none) == ["table1.cmx.oa: not in the second"]
    assert moved(none, BEFORE) == ["table1.cmx.oa: not in the first"]


def test_two_scopes_are_not_compared_as_if_they_were_one(moved: Callable[..., list[str]]) -> None:
    assert "two reproductions cannot be compared" in moved(BEFORE, {**deepcopy(BEFORE), "scope": "paper"})[0]
