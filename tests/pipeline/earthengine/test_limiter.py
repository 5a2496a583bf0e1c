"""The limiter: how many requests are in flight, how fast they come, and how both follow the service."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise

import pytest
from dwplus.pipeline.earthengine.limiter import Limiter, StoppedError


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limiter_with(in_flight: int, most: int = 20, clock: Clock | None = None) -> tuple[Limiter, ExitStack]:
    """A limiter with so many requests under way; closing the stack ends them."""
    clock, stack = clock or Clock(), ExitStack()
    limiter = Limiter(most, per_second=80, clock=clock)
    for _ in range(in_flight):
        clock.now += 0.1
        stack.enter_context(limiter.slot())
    return limiter, stack


def test_no_more_than_the_limit_are_in_flight() -> None:
    limiter, lock = Limiter(3, per_second=10_000), threading.Lock()
    now, most = 0, 0

    def ask(_: int) -> None:
        nonlocal now, most
        with limiter.slot():
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.01)
            with lock:
                now -= 1

    with ThreadPoolExecutor(10) as pool:
        list(pool.map(ask, range(30)))

    assert most == 3


def test_requests_are_spread_over_the_second() -> None:
    limiter, starts = Limiter(20, per_second=50), []

    def ask(_: int) -> None:
        with limiter.slot():
            starts.append(time.monotonic())

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(ask, range(20)))

    assert max(starts) - min(starts) >= 19 / 50 * 0.95


def test_refusals_tell_the_quota() -> None:
    # Given a quota of 8 and 20 requests that were sent at once: 12 are refused, one after the other.
    clock = Clock()
    limiter, stack = limiter_with(8, clock=clock)
    for refused in range(12):
        with ExitStack() as others:
            for _ in range(11 - refused):
                clock.now += 0.1
                others.enter_context(limiter.slot()) if limiter.limit == 20 else None
        limiter.refused(1.0)

    assert limiter.limit == 8
    stack.close()


def test_a_quota_that_grows_is_found_ever_faster() -> None:
    clock = Clock()
    limiter, stack = limiter_with(8, clock=clock)
    limiter.refused(1.0)
    stack.close()
    assert limiter.limit == 8

    limits = []
    for _ in range(5):
        clock.now += 2.0
        limiter.answered()
        limits.append(limiter.limit)

    assert limits == [9, 11, 15, 20, 20]  # 1, 2, 4, 8 more, never above the most


def test_a_probe_that_is_refused_makes_the_next_one_later() -> None:
    clock = Clock()
    limiter, stack = limiter_with(8, clock=clock)
    limiter.refused(1.0)

    probes = []
    for _ in range(60):
        clock.now += 1.0
        limiter.answered()
        if limiter.limit == 9:
            probes.append(clock.now)
            limiter.refused(1.0)
    stack.close()

    assert limiter.limit == 8
    assert [round(b - a) for a, b in pairwise(probes)] == [4, 8, 16]


def test_a_quota_nobody_is_in_flight_for_is_one_of_speed() -> None:
    clock = Clock()
    limiter, _ = limiter_with(0, clock=clock)

    limiter.refused(1.0)

    assert (limiter.limit, limiter.rate) == (1, pytest.approx(56.0))  # 80 x 0.7


def test_the_wait_that_the_service_names_is_kept_by_all() -> None:
    limiter = Limiter(5)
    limiter.refused(0.2, asked_to_wait=True)
    started = time.monotonic()

    with limiter.slot():
        waited = time.monotonic() - started

    assert 0.19 <= waited < 1.0


def test_whoever_waits_is_told_when_the_run_is_over() -> None:
    limiter = Limiter(1)
    limiter.refused(60.0, asked_to_wait=True)
    threading.Timer(0.1, limiter.stop).start()
    started = time.monotonic()

    with pytest.raises(StoppedError), limiter.slot():
        pass
    with pytest.raises(StoppedError):
        limiter.sleep(60.0)

    assert time.monotonic() - started < 5
