"""A checkpoint of Dynamic World's network with made-up values."""

import numpy as np
from numpy.typing import NDArray

from support.tensor_bundles import key

Weights = dict[str, NDArray[np.float32]]

# Convolutions by the number of their kernel: (rows, in, out), out = 0 where depthwise; and those of their BatchNorms.
KERNELS = {
    0: (3, 9, 64), 6: (1, 64, 96), 12: (3, 96, 0), 18: (1, 96, 96), 24: (3, 96, 0), 30: (1, 96, 96), 36: (3, 96, 0),
    38: (1, 64, 96), 48: (1, 96, 144), 54: (3, 144, 0), 60: (1, 144, 144), 66: (3, 144, 0), 72: (1, 144, 144),
    84: (3, 144, 0), 86: (1, 96, 144), 78: (1, 64, 48), 96: (3, 48, 0), 102: (1, 192, 144), 108: (3, 144, 0),
    114: (1, 144, 144), 120: (3, 144, 0), 126: (1, 144, 144), 132: (3, 144, 0), 134: (1, 192, 144), 144: (1, 144, 9),
}  # fmt: skip
NORMS = {
    0: 2, 6: 8, 12: 14, 18: 20, 24: 26, 30: 32, 36: 40, 38: 44, 48: 50, 54: 56, 60: 62, 66: 68, 72: 74, 84: 88, 86: 92,
    78: 80, 96: 98, 102: 104, 108: 110, 114: 116, 120: 122, 126: 128, 132: 136, 134: 140,
}  # fmt: skip


def made_up_variables() -> Weights:
    """A checkpoint with the published shapes and other values."""
    rng = np.random.default_rng(1)
    found: Weights = {}
    for number, (side, into, out) in KERNELS.items():
        shape = (side, side, into, out or 1)
        found[key(number)] = (rng.normal(size=shape) / np.sqrt(side * side * (into if out else 1))).astype(np.float32)
        found[key(number + 1)] = rng.normal(0, 0.3, out or into).astype(np.float32)
        for place in range(4 if number in NORMS else 0):
            low, high = ((0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.1, 2.0))[place]
            found[key(NORMS[number] + place)] = rng.uniform(low, high, out or into).astype(np.float32)
    return found
