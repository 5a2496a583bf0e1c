"""Class probabilities of windows: stored values in, softmax of a run's network out.

Letters: B windows, C bands, K classes, H and W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..loader import Symmetry
from ..score import LoadedRun

SYMMETRIES = tuple(Symmetry(turns, mirrored) for turns in range(4) for mirrored in (False, True))
"""The eight symmetries of a square."""


class Classifier:
    """A run's network as a function from stored values to probabilities.

    Args:
        run: what ``score.load`` gave.
        tta: average the probabilities of all eight symmetries of each window (eight times the work).
    """

    def __init__(self, run: LoadedRun, *, tta: bool = False) -> None:
        self._run = run
        self._symmetries = SYMMETRIES if tta else SYMMETRIES[:1]
        self.classes = run.config.data.classes

    @torch.inference_mode()
    def __call__(self, primary: NDArray[np.uint16], auxiliary: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Probabilities of each class.

        Args:
            primary, auxiliary: uint16 (B, C, H, W), stored values of the run's bands, 0 = no data; H = W.

        Returns:
            float32 (B, K, H, W), 0..1, sum 1 over the classes.
        """
        inputs = self._run.normaliser(*(self._on_device(one) for one in (primary, auxiliary)))
        total: Tensor | None = None
        for symmetry in self._symmetries:
            turned = symmetry.undo(self._run.network(*(symmetry(one) for one in inputs)).float().softmax(dim=1))
            total = turned if total is None else total + turned
        assert total is not None
        found: NDArray[np.float32] = (total / len(self._symmetries)).cpu().numpy()
        return found

    def _on_device(self, stored: NDArray[np.uint16]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(stored)).to(self._run.normaliser.primary.factor.device)
