"""Dataset: tile -> Sample, as numpy arrays in stored units; knows no torch.

Comes after ``normalise`` and before the loader of the model half. Decoding to physical units and normalising happen on
the device.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tiles import Tile


@dataclass(frozen=True)
class Sample:
    """One tile, ready for a network's two inputs.

    Attributes:
        primary: uint16 (bands, H, W), stored values, 0 = no data.
        auxiliary: uint16 (bands, H, W), stored values, 0 = no data; no bands for a network with one input.
        label: uint8 (H, W), class index 0..8, 255 = ignored.
        tile: where and when.
    """

    primary: NDArray[np.uint16]
    auxiliary: NDArray[np.uint16]
    label: NDArray[np.uint8]
    tile: Tile
