"""Class probabilities of windows: stored values in, probabilities of a run's network out.

Letters: B windows, C bands, K classes, H and W pixels.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..calibration import Calibration
from ..score import LoadedRun
from ..symmetries import mean_probabilities, plain


class Classifier:
    """A run's network as a function from stored values to probabilities.

    Args:
        run: what ``score.load`` gave.
        tta: average the probabilities of all eight symmetries of each window (eight times the work).
        calibration: of the run; None: probabilities are the softmax of the logits.
    """

    def __init__(self, run: LoadedRun, *, tta: bool = False, calibration: Calibration | None = None) -> None:
        self.run, self._tta, self._calibration = run, tta, calibration
        self._meaning = plain if calibration is None else calibration.probabilities
        self.classes = run.config.data.classes

    def with_network(self, network: nn.Module) -> Classifier:
        """The same, with another network."""
        return Classifier(self.run._replace(network=network), tta=self._tta, calibration=self._calibration)

    @torch.inference_mode()
    def __call__(self, primary: NDArray[np.uint16], auxiliary: NDArray[np.uint16]) -> NDArray[np.float32]:
        """Probabilities of each class.

        Args:
            primary, auxiliary: uint16 (B, C, H, W), stored values of the run's bands, 0 = no data; H = W.

        Returns:
            float32 (B, K, H, W), 0..1, sum 1 over the classes.
        """
        inputs = self.run.normaliser(*(self._on_device(one) for one in (primary, auxiliary)))
        (mean,) = mean_probabilities(self.run.network, inputs, [self._meaning], tta=self._tta)
        found: NDArray[np.float32] = mean.cpu().numpy()
        return found

    def _on_device(self, stored: NDArray[np.uint16]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(stored)).to(self.run.normaliser.primary.factor.device)
