"""Calibration of a run: what its logits have to be divided by so that its confidence is its accuracy.

A record kept with the run (``calibration.json``), fitted by ``calibration_fit`` and used by everything that shows
probabilities: scores, maps, the review of labels. One temperature for all classes changes no class; biases, one for
each class, are there only where nothing else is enough, and do change classes.

Focal loss is least for other probabilities than the true ones, in a way that no temperature makes good and that is
known exactly (``without_focal``): it keeps the order of the classes, and comes between the two.

Sources: Guo et al. 2017, On calibration of modern neural networks, section 4.2 (temperature and vector scaling);
Charoenphakdee et al. 2021, On focal loss for class-posterior probability estimation, theorem 11.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..pipeline.errors import DataError
from ..pipeline.spec.version import __version__
from .metrics import BINS, Sums, brier, calibration_error, or_none
from .run_files import weights_hash
from .runs import WEIGHTS, RunFolder


@dataclass(frozen=True)
class Reliability:
    """How sure a network was of pixels, and how often it was right: counts by bin of confidence.

    Attributes:
        pixels, right: (BINS) pixels of each bin, and those of them that are right.
        confidence: (BINS) sum of their confidences, in millionths.
        squared_errors: sum over all pixels of the squared distance of probabilities and truth, in millionths.
    """

    pixels: tuple[int, ...]
    right: tuple[int, ...]
    confidence: tuple[int, ...]
    squared_errors: int

    @property
    def _sums(self) -> Sums:
        nothing = np.zeros(1, np.int64)
        bins = np.array([self.pixels, self.right, self.confidence], dtype=np.int64)
        return Sums(nothing, nothing, nothing, bins, np.array(self.squared_errors))

    @property
    def ece(self) -> float:
        """Expected calibration error, 0..1; NaN without pixels."""
        return float(calibration_error(self._sums))

    @property
    def brier(self) -> float:
        """Brier score, 0..2; NaN without pixels."""
        return float(brier(self._sums))

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        bins = {"pixels": list(self.pixels), "right": list(self.right), "confidence_millionths": list(self.confidence)}
        return {
            "ece": or_none(self.ece),
            "brier": or_none(self.brier),
            "squared_errors_millionths": self.squared_errors,
            "bins": bins,
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any]) -> Reliability:
        """What ``to_dict`` gave. Raises KeyError, TypeError or ValueError where it is something else."""
        columns = [tuple(int(n) for n in mapping["bins"][key]) for key in ("pixels", "right", "confidence_millionths")]
        if any(len(column) != BINS for column in columns):
            raise ValueError(f"bins are {[len(column) for column in columns]}, not {BINS}")
        return cls(columns[0], columns[1], columns[2], int(mapping["squared_errors_millionths"]))


@dataclass(frozen=True)
class Calibration:
    """What makes the confidence of a run's network its accuracy.

    Attributes:
        temperature: that logits are divided by; below 1 for a network that is too little sure.
        biases: class -> what is added to its logit after that; empty where they are not needed.
        classes: names of the K classes, in their order.
        split: that it was fitted on.
        tiles, pixels: of that split, that it was fitted on; pixels are a sample.
        tiles_hash: of the shards and labels of that split.
        experts: these are the tiles that experts drew, and only those.
        weights, weights_sha256: file of weights, and its hash.
        source: where the pixels came from.
        before, after: how sure the network was of these pixels, without and with it.
        gamma: of the focal loss that is undone before; 0 where a temperature alone is enough, or for another loss.
        temperature_alone: what the temperature would be if nothing else was fitted.
    """

    temperature: float
    biases: Mapping[str, float]
    classes: tuple[str, ...]
    split: str
    tiles: int
    pixels: int
    tiles_hash: str
    experts: bool
    weights: str
    weights_sha256: str
    source: str
    before: Reliability
    after: Reliability
    gamma: float = 0.0
    temperature_alone: float | None = None

    @property
    def changes_classes(self) -> bool:
        """Whether the largest logit may be that of another class afterwards."""
        return any(self.biases.values())

    @property
    def digest(self) -> str:
        """What decides the probabilities, as text: changes with the temperature and any bias."""
        return repr((self.gamma, self.temperature, [self.biases.get(name, 0.0) for name in self.classes]))

    def logits(self, logits: Tensor) -> Tensor:
        """Calibrated logits.

        Args:
            logits: float (B, K, ...), of the network.

        Returns:
            float32 (B, K, ...).
        """
        scaled = without_focal(logits.float(), self.gamma) / self.temperature
        if not self.changes_classes:
            return scaled
        shape = (-1, *[1] * (logits.dim() - 2))
        return scaled + torch.tensor(self._bias, dtype=scaled.dtype, device=scaled.device).view(shape)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Calibrated probabilities: float32 (B, K, ...), 0..1, sum 1 over the classes.

        Args:
            logits: float (B, K, ...), of the network.
        """
        return self.logits(logits).softmax(dim=1)

    @cached_property
    def _bias(self) -> list[float]:
        return [float(self.biases.get(name, 0.0)) for name in self.classes]

    def sentence(self) -> str:
        """``temperature 0.615, fitted on 6 val tiles drawn by experts: there ECE 25.7% before, 4.1% after``."""
        where = f"{self.tiles} {self.split} {'tile' if self.tiles == 1 else 'tiles'}"
        drawn = " drawn by experts" if self.experts else ""
        biases = " and a bias for each class" if self.changes_classes else ""
        focal = f"focal loss (gamma {self.gamma:g}) undone, " if self.gamma else ""
        return (
            f"{focal}temperature {self.temperature:.3f}{biases}, fitted on {where}{drawn}: there ECE "
            f"{self.before.ece:.1%} before, {self.after.ece:.1%} after"
        )

    # --- file ---------------------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, run: Path | str, weights: str = WEIGHTS) -> Calibration | None:
        """The calibration that is kept with a run; None where there is none.

        Args:
            run: the run's folder.
            weights: ``model.safetensors``, or ``best.safetensors``.

        Raises:
            DataError: it is damaged, or of other weights than the run has now.
        """
        folder, name = RunFolder(Path(run)), calibration_name(weights)
        path = folder.path / name
        if not path.is_file():
            return None
        found = cls.from_dict(folder.read_json(name), where=str(path))
        if found.weights_sha256 != weights_digest(folder, weights):
            raise DataError(
                f"{path} is of other weights than {weights} of this run; score the run again with "
                f"'dwplus score runs/{folder.path.name}'"
            )
        return found

    def write(self, run: Path | str) -> None:
        """Keep it with a run, with its hash."""
        RunFolder(Path(run)).write_json(calibration_name(self.weights), self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        facts = {
            key: getattr(self, key)
            for key in ("source", "weights", "weights_sha256", "split", "tiles", "tiles_hash", "experts", "pixels")
        }
        return {
            "dwplus": __version__,
            "temperature": self.temperature,
            "gamma": self.gamma,
            "temperature_alone": self.temperature_alone,
            "biases": dict(self.biases),
            "classes": list(self.classes),
            **facts,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
        }

    @classmethod
    def from_dict(cls, mapping: Mapping[str, Any], *, where: str) -> Calibration:
        """What ``to_dict`` gave.

        Raises:
            DataError: it is something else; ``where`` it is from stands in the message.
        """
        keys = ("split", "tiles", "pixels", "tiles_hash", "experts", "weights", "weights_sha256", "source")
        try:
            classes = tuple(str(name) for name in mapping["classes"])
            found = cls(
                float(mapping["temperature"]),
                {str(name): float(bias) for name, bias in mapping["biases"].items()},
                classes,
                **{key: mapping[key] for key in keys},
                before=Reliability.from_dict(mapping["before"]),
                after=Reliability.from_dict(mapping["after"]),
                gamma=float(mapping["gamma"]),
                temperature_alone=mapping["temperature_alone"],
            )
            if not 0 <= found.gamma < math.inf:
                raise ValueError(f"gamma is {found.gamma}")
            if not (found.temperature > 0 and math.isfinite(found.temperature)):
                raise ValueError(f"temperature is {found.temperature}")
            if unknown := set(found.biases) - set(classes):
                raise ValueError(f"there is no class {', '.join(sorted(unknown))}")
            if not all(math.isfinite(bias) for bias in found.biases.values()):
                raise ValueError("a bias is not a number")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"{where} is no calibration of dwplus ({error!r}); score the run again") from None
        return found


def without_focal(logits: Tensor, gamma: float) -> Tensor:
    """Logits of the probabilities that a network trained with focal loss means by those that it gives.

    With v a given probability and f(v) = (1 - v)^gamma - gamma (1 - v)^(gamma - 1) v log v, the true ones are
    proportional to v / f(v). The order of the classes stays.

    Args:
        logits: float (B, K, ...), of the network.
        gamma: of the loss; 0 gives the logits back.

    Source: Charoenphakdee et al. 2021, theorem 11.
    """
    if not gamma:
        return logits
    # The largest probability is at most 1 - 1e-7: nothing is made infinitely sure.
    log_v = logits.log_softmax(dim=1).clamp(max=-1e-7)
    rest = -log_v.expm1()
    log_f = gamma * rest.log() + torch.log1p(-gamma * log_v.exp() * log_v / rest)
    return log_v - log_f


def calibration_name(weights: str = WEIGHTS) -> str:
    """``calibration.json``, or ``calibration-best.json`` of the best epoch's weights."""
    return "calibration.json" if weights == WEIGHTS else f"calibration-{Path(weights).stem}.json"


def weights_digest(folder: RunFolder, weights: str = WEIGHTS) -> str:
    """SHA-256 of a run's file of weights, from the record or, in a run of an earlier version, from the file."""
    return next(reversed(folder.sums().get(weights, ())), None) or weights_hash(folder.path / weights)


class CalibratedNetwork(nn.Module):
    """A network whose logits are calibrated; with biases, its classes are those of the calibrated variant."""

    def __init__(self, network: nn.Module, calibration: Calibration) -> None:
        super().__init__()
        self._network, self._calibration = network, calibration

    def forward(self, primary: Tensor, auxiliary: Tensor) -> Tensor:
        """Calibrated logits of both inputs."""
        return self._calibration.logits(self._network(primary, auxiliary))
