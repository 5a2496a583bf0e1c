"""The limiter: how many requests are in flight, and how that number follows the service."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from dwplus.pipeline.limiter import Limiter, StoppedError


def test_no_more_than_the_limit_are_in_flight() -> None:
    limiter, lock = Limiter(3), threading.Lock()
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


def test_a_refusal_cuts_the_limit_once_for_all_that_were_under_way() -> None:
    limiter = Limiter(20)

    for _ in range(20):
        limiter.refused(0.0)

    assert limiter.limit == 14  # 20 x 0.7, not 20 x 0.7^20


def test_answers_bring_the_limit_back_but_never_above_the_most() -> None:
    limiter = Limiter(20)
    limiter.refused(0.0)

    for _ in range(15):
        limiter.answered()
    assert limiter.limit == 15  # one more after as many answers as are in flight

    for _ in range(1000):
        limiter.answered()
    assert limiter.limit == 20


def test_after_a_refusal_nobody_asks_for_a_while() -> None:
    limiter = Limiter(5)
    limiter.refused(0.2)
    started = time.monotonic()

    with limiter.slot():
        waited = time.monotonic() - started

    assert 0.19 <= waited < 1.0


def test_whoever_waits_is_told_when_the_run_is_over() -> None:
    limiter = Limiter(1)
    limiter.refused(60.0)
    threading.Timer(0.1, limiter.stop).start()
    started = time.monotonic()

    with pytest.raises(StoppedError), limiter.slot():
        pass
    with pytest.raises(StoppedError):
        limiter.sleep(60.0)

    assert time.monotonic() - started < 5
