"""Console: progress and messages for a person, on stderr. Bars on a terminal, plain lines in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..pipeline.machine import is_first_process
from ..pipeline.progress import Progress, Step
from ..pipeline.spec.words import count_of

_LINE_EVERY_S = 10.0


def console(*, quiet: bool = False) -> Progress:
    """The progress that suits where stderr goes; of several processes on one training, the first one alone tells it."""
    if quiet or not is_first_process():
        from ..pipeline.progress import Silent

        return Silent()
    return BarProgress() if sys.stderr.isatty() else LineProgress()


class LineProgress:
    """One line at the start and the end of a stage, and every few seconds between."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "tiles") -> Iterator[Step]:
        step = _LineStep(title, total, unit)
        yield step
        step.finish()

    def say(self, message: str) -> None:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()


class _LineStep(Step):
    def __init__(self, title: str, total: int | None, unit: str) -> None:
        self._title, self._total, self._unit = title, total, unit
        self._done = 0
        self._note = ""
        self._started = self._told = time.monotonic()

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._note = note
        self.set(self._done + amount)

    def set(self, done: int, total: int | None = None) -> None:
        self._done = done
        self._total = total or self._total
        if time.monotonic() - self._told >= _LINE_EVERY_S:
            self._tell()

    def finish(self) -> None:
        self._tell(end=True)

    def _tell(self, *, end: bool = False) -> None:
        self._told = time.monotonic()
        seconds = self._told - self._started
        amount = _amount(self._done, None if end else self._total, self._unit)
        rest = f", {seconds:.1f} s" if end else f" ({self._note})" if self._note else ""
        sys.stderr.write(f"{self._title}: {amount}{rest}\n")
        sys.stderr.flush()


def _amount(done: int, total: int | None, unit: str) -> str:
    if unit == "bytes":
        done_mb = f"{done / 1e6:.1f}"
        return f"{done_mb} of {total / 1e6:.1f} MB" if total else f"{done_mb} MB"
    one = unit.removesuffix("s")
    return f"{done} of {count_of(total, one)}" if total else count_of(done, one)


_WIDE = 100
"""Columns of a terminal that has room for a bar and for notes beside the title and the numbers."""


class BarProgress:
    """A live bar per stage, with the time left; titles are never cut, a narrow terminal gets no bar."""

    @contextmanager
    def stage(self, title: str, total: int | None, unit: str = "tiles") -> Iterator[Step]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            MofNCompleteColumn,
            ProgressColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars
        from rich.table import Column

        console = Console(stderr=True)
        amount = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
        # Notes and titles are names and ids: never markup, and folded rather than cut.
        whole = Column(no_wrap=False, overflow="fold")
        described = TextColumn("{task.description:<26}", markup=False, table_column=whole)
        columns: list[ProgressColumn] = [SpinnerColumn(finished_text="[green]✓"), described]
        if console.width >= _WIDE:
            note = TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=whole)
            columns += [BarColumn(bar_width=20), amount, TimeElapsedColumn(), TimeRemainingColumn(), note]
        else:
            columns += [amount, TimeRemainingColumn()]
        with Bars(*columns, console=console) as bars:
            task = bars.add_task(title, total=total, note="")
            yield _BarStep(bars, task)
            done = bars.tasks[0].completed
            bars.update(task, total=max(done, 1), completed=max(done, 1) if done or not total else done, note="")

    def say(self, message: str) -> None:
        from rich.console import Console

        # A path or an id that is broken in two cannot be copied; [models] is no markup.
        Console(stderr=True).print(message, highlight=False, markup=False, soft_wrap=True)


class _BarStep(Step):
    def __init__(self, bars: Any, task: Any) -> None:
        self._bars, self._task = bars, task

    def advance(self, amount: int = 1, note: str = "") -> None:
        self._bars.update(self._task, advance=amount, note=note)

    def set(self, done: int, total: int | None = None) -> None:
        fields = {"completed": done} if total is None else {"completed": done, "total": total}
        self._bars.update(self._task, **fields)
