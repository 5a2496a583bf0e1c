"""What goes wrong on purpose: plans, quotas and latencies, without a server."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import pytest
from dwplus.local_ee.refusal import Refusal
from dwplus.local_ee.server.faults import FaultPlan, parse_plan, read_plan
from dwplus.local_ee.server.latency import LONGEST_S, latency_of
from dwplus.local_ee.server.quotas import Quotas
from dwplus.local_ee.server.request_log import route_of
from dwplus.pipeline.errors import UsageError

PIXELS = "POST /v1/projects/p/image:computePixels?alt=json"

# Plans ----------------------------------------------------------------------------------------------------------------


def test_a_fault_meets_the_nth_request_and_counts() -> None:
    plan = FaultPlan([{"match": "computePixels", "skip": 1, "times": 2, "status": 503}])

    met = [plan.next(PIXELS, b"") is not None for _ in range(5)]
    plan.next("POST /v1/projects/p/value:compute", b"")

    assert met == [False, True, True, False, False]
    assert plan.counted() == [{"fault": "503", "met": 5, "struck": 2}]


def test_the_first_fault_that_is_not_used_up_is_taken() -> None:
    plan = FaultPlan([{"status": 500, "times": 1}, {"body": "slow", "delay_s": 1.0}, {"drop": True}])

    names = [fault.name for body in (b"", b"slow", b"") if (fault := plan.next(PIXELS, body))]

    assert names == ["500", "delay", "drop"]


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({}, "a list of objects"),
        ([1], "a list of objects"),
        ([{"colour": 1}], "Unknown field of a fault: colour; known: body, delay_s, drop, html, match, message"),
        ([{"status": "429"}], "status = '429' is not a whole number"),
        ([{"status": 42}], "status = 42 is not an HTTP code"),
        ([{"status": 429, "retry_after": -1}], "retry_after = -1 is not a number of seconds"),
        ([{"drop": 1}], "drop = 1 is not true or false"),
        ([{"match": "("}], "match '(':"),
        ([{"match": "computePixels", "times": 3}], "A fault does nothing"),
    ],
)
def test_a_plan_that_means_nothing_is_refused(plan: Any, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_plan(plan)
    assert message in caught.value.message


def test_a_person_writes_a_plan_as_toml(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text("""
        max_concurrent = 40
        latency = {kind = "lognormal", median_s = 1.0, sigma = 0.5, seed = 1}

        [[fault]]
        match = "computePixels"
        times = 2
        status = 429
        retry_after = 3

        [[fault]]
        truncate = 1000
    """)

    plan = read_plan(path)

    assert [fault.name for fault in parse_plan(plan.faults)] == ["429", "truncate"]
    assert (plan.max_concurrent, plan.per_second) == (40, None)
    assert plan.latency == {"kind": "lognormal", "median_s": 1.0, "sigma": 0.5, "seed": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("faults = []", "unknown key faults; known: fault, latency, max_concurrent, per_second"),
        ("[[fault]]\ncolour = 1", "Unknown field of a fault: colour; known: body, "),
        ("latency = {kind = 'normal'}", "latency: unknown kind 'normal'; known: fixed, uniform, lognormal"),
        ("max_concurrent = 0", "max_concurrent = 0 is not a number above 0"),
        ("fault =", "is not TOML"),
    ],
)
def test_a_plan_file_with_a_mistake_is_named_with_what_it_may_hold(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)

    with pytest.raises(UsageError) as caught:
        read_plan(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_a_plan_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*plan.toml: No such file"):
        read_plan(tmp_path / "plan.toml")


# Quotas ---------------------------------------------------------------------------------------------------------------


def test_a_request_beyond_those_at_a_time_is_refused_until_one_ends() -> None:
    quotas = Quotas(max_concurrent=2)
    quotas.enter()
    quotas.enter()

    with pytest.raises(Refusal, match="may have 2 at a time") as caught:
        quotas.enter()
    assert (caught.value.code, quotas.running) == (429, 2)
    quotas.leave()
    quotas.enter()


def test_requests_per_second_are_counted_over_any_second() -> None:
    quotas = Quotas(per_second=2)
    for now in (0.0, 0.9):
        quotas.enter(now)

    with pytest.raises(Refusal, match="Quota exceeded for quota metric 'Number of read requests'"):
        quotas.enter(0.95)
    quotas.enter(1.0)  # the first is a second ago
    with pytest.raises(Refusal):
        quotas.enter(1.5)


# Latency --------------------------------------------------------------------------------------------------------------


def test_a_latency_is_fixed_or_drawn_anew_the_same_way_for_the_same_seed() -> None:
    assert latency_of(0.25)() == 0.25
    setting = {"kind": "lognormal", "median_s": 1.0, "sigma": 0.5, "seed": 1}
    one, other = latency_of(setting), latency_of(setting)
    drawn = [one() for _ in range(2000)]

    assert drawn == [other() for _ in range(2000)]
    assert statistics.median(drawn) == pytest.approx(1.0, rel=0.05)
    # a lognormal's mean is median * exp(sigma**2 / 2)
    assert statistics.fmean(drawn) == pytest.approx(1.133, rel=0.05)
    uniform = latency_of({"kind": "uniform", "low_s": 1, "high_s": 2})
    assert all(1 <= uniform() <= 2 for _ in range(100))
    assert latency_of({"kind": "lognormal", "median_s": 1e9, "sigma": 0})() == LONGEST_S


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"kind": "lognormal", "median_s": 1}, "missing sigma; lognormal has median_s, sigma and seed"),
        ({"kind": "fixed", "seconds": 1, "sigma": 2}, "unknown sigma"),
        ({"kind": "lognormal", "median_s": 0, "sigma": 1}, "median_s: 0.0 is not above zero"),
        (-1.0, "-1.0 is not a number of at least 0"),
        ("1", "'1' is not a number"),
        ({"kind": "fixed", "seconds": 1, "seed": "a"}, "seed: 'a' is not a whole number"),
    ],
)
def test_a_latency_that_means_nothing_is_refused(setting: Any, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        latency_of(setting)
    assert message in caught.value.message


# Log ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/v1/projects/p/image:computePixels?alt=json", "image:computePixels"),
        ("/v1/projects/earthengine-public/assets/A/B:getPixels", "assets:getPixels"),
        ("/v1/projects/earthengine-public/assets/A/B", "assets"),
        ("/releases/a.zip", "releases"),
        ("/token", "token"),
    ],
)
def test_requests_are_counted_by_what_they_ask_for(path: str, route: str) -> None:
    assert route_of(path) == route
