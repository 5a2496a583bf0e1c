"""One of several processes on one training: what ``launch.py`` starts, and nobody else.

It reads its job from its standard input, trains as a single process does, and writes down why it failed.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..pipeline.errors import DwplusError, ExitCode
from ..pipeline.machine import is_first_process
from .launch import HANDED_ON, Job, Report

if TYPE_CHECKING:
    from ..pipeline.dataset.manifest import Protocol


def main() -> None:
    """Train, and end with the exit code that the command would have."""
    report = Path(sys.argv[1])
    for number in HANDED_ON:
        signal.signal(number, signal.default_int_handler)
    try:
        job = Job.of_line(sys.stdin.buffer.readline())
        threading.Thread(target=_end_with_the_launcher, daemon=True).start()
        _train(job)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except DwplusError as error:
        _write(report, Report(time.time(), str(error), int(error.exit_code)))
        sys.exit(error.exit_code)
    except MemoryError as error:
        _write(report, Report(time.time(), str(error), memory=True))
        sys.exit(ExitCode.ERROR)
    except Exception:
        _write(report, Report(time.time(), traceback.format_exc()))
        sys.exit(ExitCode.ERROR)


def _train(job: Job) -> None:
    # Here, since it takes seconds: a signal that comes meanwhile ends the process in order.
    from ..model.settings import TrainConfig
    from ..pipeline.dataset.root import DataRoot
    from .console import console
    from .splits import Inputs
    from .training import train_run

    handler = logging.StreamHandler(sys.stderr)
    if not is_first_process():
        handler.setLevel(logging.ERROR)
        warnings.simplefilter("ignore")
    logging.getLogger(str(__package__).rpartition(".")[0]).handlers[:] = [handler]
    root = DataRoot.at(Path(job.folder))
    train_run(
        replace(root, runs_folder=None if job.runs is None else Path(job.runs)),
        job.name,
        TrainConfig.from_dict(job.config),
        protocol=cast("Protocol", job.protocol),
        inputs=Inputs(job.primary, job.auxiliary),
        progress=console(quiet=job.quiet),
        accept=job.accept,
    )


def _end_with_the_launcher() -> None:
    """Wait until the launcher is gone, which holds the other end of standard input."""
    # The descriptor itself: a thread that waits in sys.stdin would keep Python from ending.
    os.read(0, 1)
    os._exit(ExitCode.ERROR)


def _write(path: Path, report: Report) -> None:
    path.write_text(json.dumps(asdict(report)), encoding="utf-8")


if __name__ == "__main__":
    main()
