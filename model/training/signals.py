"""Signals that ask a training to stop: it ends after the step that it is in, and leaves a checkpoint."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

STOPPING = tuple(number for name in ("SIGTERM", "SIGUSR1") if (number := getattr(signal, name, None)) is not None)
"""What batch systems send some time before they end a job: Slurm by ``--signal``, most others SIGTERM."""


@dataclass
class StopRequest:
    """Whether a signal asked this process to stop."""

    received: bool = False


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Take ``STOPPING`` for requests, and give the signals their meaning back afterwards.

    Python handles signals in its main thread alone: in another one nothing is changed.
    """
    request = StopRequest()

    def note(_number: int, _frame: FrameType | None) -> None:
        request.received = True

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, note) for number in STOPPING}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
