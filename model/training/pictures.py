"""Pictures of a training: when they are due, and where they go. Whoever listens to the training draws them."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray

from ...pipeline.errors import in_brief
from ..run_files import PICTURES
from ..runs import RunFolder
from .listener import Listener
from .trackers import send_picture

log = logging.getLogger(__name__)


def is_due(epoch: int, *, every: int, validate_every: int, epochs: int) -> bool:
    """Whether a validated epoch (from 1) gets a picture: the first one since so many epochs, and the last one.

    Args:
        every: epochs between pictures; 0: there are none.
        validate_every: epochs between validations.
        epochs: in all.
    """
    if not every:
        return False
    before = (epoch - 1) // validate_every * validate_every
    return epoch // every > before // every or epoch == epochs


def keep_picture(
    listener: Listener,
    folder: RunFolder,
    accelerator: Accelerator,
    epoch: int,
    predicted: Mapping[int, NDArray[np.uint8]],
) -> None:
    """Have the listener draw an epoch (from 1), write ``pictures/epoch-0010.png`` and send it to the trackers.

    A picture that fails is reported, and ends no training.

    Args:
        predicted: place of a validation tile -> uint8 (H, W), class indices.
    """
    try:
        png = listener.picture(epoch, predicted)
        if png is None:
            return
        folder.write(f"{PICTURES}/epoch-{epoch:04d}.png", lambda path: path.write_bytes(png))
        send_picture(accelerator.trackers, png, epoch)
    except Exception as error:  # libraries that draw and trackers raise whatever they raise
        log.warning("no picture of epoch %d: %s", epoch, in_brief(error))
