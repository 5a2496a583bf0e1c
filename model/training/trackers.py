"""Trackers: programs beside ``metrics.jsonl`` that show the curves of a training; any that accelerate knows by name.

Curves are a help, never a condition: one that fails on the way is reported, and the training goes on.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from ...pipeline.errors import DwplusError, UsageError, in_brief
from ..run_config import RunConfig

log = logging.getLogger(__name__)

PROJECT = "dwplus"
"""What trackers that keep the runs of many programs file ours under."""

_PACKAGES = {"tensorboard": "'dwplus[trackers]'", "comet_ml": "comet-ml"}
"""What pip installs for a tracker, where that is not its name."""


def tracker_names() -> tuple[str, ...]:
    """Names of all trackers that accelerate knows, installed or not."""
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    return tuple(sorted(map(str, LOGGER_TYPE_TO_CLASS)))


def check_tracker_name(name: str) -> None:
    """
    Raises:
        UsageError: there is no such tracker; lists all.
    """
    if name not in tracker_names():
        raise UsageError(f"tracker is {in_brief(repr(name), 60)}; it must be one of {', '.join(tracker_names())}")


def check_tracker_installed(name: str) -> None:
    """
    Raises:
        UsageError: its package is missing; names the command that installs it.
    """
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import LoggerType

    # Trackers that a program registers with accelerate itself bring what they need.
    own = name not in {str(one) for one in LoggerType}
    if not own and name not in {str(one) for one in get_available_trackers()}:
        raise UsageError(f"tracker {name} is not installed; install it with: pip install {_PACKAGES.get(name, name)}")


def start_tracker(accelerator: Accelerator, name: str, run: RunConfig, run_dir: Path) -> None:
    """Begin the curves of a run; tensorboard, aim and dvclive write below ``run_dir``.

    Raises:
        DwplusError: the tracker does not start, as where nobody is signed in.
    """
    settings = {key: _plain(value) for key, value in {**run.train, "source": run.data.source}.items()}
    project = {"tensorboard": "curves", "aim": run_dir.name}.get(name, PROJECT)
    try:
        accelerator.init_trackers(project, config=settings, init_kwargs={name: _options(run_dir).get(name, {})})
    except Exception as error:  # each of them raises errors of its own
        raise DwplusError(
            f"tracker {name} does not start: {in_brief(error)}; sign in as it asks for, or leave out --set tracker"
        ) from error


def _options(run_dir: Path) -> dict[str, dict[str, Any]]:
    """How a tracker calls the name of a run, or the place where it writes."""
    run = run_dir.name
    return {
        "wandb": {"name": run, "dir": str(run_dir)},
        "trackio": {"name": run},
        "mlflow": {"run_name": run},
        "clearml": {"task_name": run},
        "swanlab": {"experiment_name": run},
        "dvclive": {"dir": str(run_dir / "dvclive")},
    }


def _plain(value: Any) -> bool | int | float | str:
    return value if isinstance(value, bool | int | float | str) else str(value)


def send_row(accelerator: Accelerator, row: Mapping[str, Any]) -> None:
    """Send the row of an epoch: loss, rate, seconds, samples a second, scores."""
    values = {key: value for key, value in row.items() if value is not None}
    try:
        accelerator.log(values, step=row["epoch"])
    except Exception as error:
        log.warning("the tracker took no curves of epoch %d: %s", row["epoch"], in_brief(error))


def send_picture(trackers: Sequence[Any], png: bytes, epoch: int) -> None:
    """Send a picture to the trackers that take some; each wants it in its own form."""
    takers = [tracker for tracker in trackers if hasattr(tracker, "log_images")]
    if not takers:
        return
    from matplotlib.image import imread

    image: NDArray[np.uint8] = (imread(io.BytesIO(png))[..., :3] * 255).round().astype(np.uint8)
    for tracker in takers:
        if tracker.name == "tensorboard":
            tracker.log_images({"tiles": image[None]}, step=epoch, dataformats="NHWC")
        else:
            one_by_one = tracker.name in ("aim", "clearml")
            tracker.log_images({"tiles": image if one_by_one else [image]}, step=epoch)
