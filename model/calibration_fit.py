"""Fitting a calibration: a split goes through the network once, a sample of its pixels decides.

Comes after training and before scoring. Tiles are streamed; of their pixels a seeded sample is held, the same share of
every tile, since pixels of a tile are alike: memory is bounded, however many tiles and classes there are. What is
minimised is the mean negative log-likelihood, which is convex in 1 / temperature and the biases: Newton's method finds
the one minimum, without a seed or a rate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..pipeline.errors import DataError, UsageError
from ..pipeline.spec.classes import IGNORE
from .calibration import Calibration, Reliability, weights_digest, without_focal
from .loader import TileSet, batch_to, batches
from .metrics import BINS, MILLION
from .runs import WEIGHTS, RunFolder
from .score import load, tile_loader
from .training.validation import expert_tiles

MOST_VALUES = 2**21
"""Logits of the sample at most: 8 MiB, some 230,000 pixels of nine classes; pixels of a tile are alike."""

TRAIN_TILES = 100
"""So many tiles of the training split at most are calibrated on, evenly spread over it."""

ENOUGH = 0.05
"""ECE that a temperature has to leave at most, on the split that it was fitted on; above it more is fitted."""

_PENALTY = 1e-3
"""Weight of the mean squared bias beside the likelihood: a class that hardly occurs is moved little."""

_TOGETHER = 10.0
"""Weight of the squared mean of the biases: they add up to nothing, so that a class without pixels keeps its place."""

_CHUNK = 65_536
_LOWEST, _HIGHEST = 0.02, 50.0
"""Bounds of the temperature: a network that is right, or wrong, everywhere has none."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Pixels of a split.

    Attributes:
        logits: float32 (n, K).
        truth: uint8 (n,), class index.
    """

    logits: NDArray[np.float32]
    truth: NDArray[np.uint8]


def calibrate(
    run_dir: Path,
    dataset: TileSet,
    *,
    batch: int = 4,
    workers: int | None = None,
    device: str | None = None,
    weights: str = WEIGHTS,
    on_tile: Callable[[int, int], None] | None = None,
) -> Calibration:
    """The calibration of a run's network, fitted on a split; nothing is written.

    Args:
        run_dir: a complete run.
        dataset: the split, opened with the run's bands and protocol; of ``val`` the tiles that experts drew count
            where there are some, of ``train`` at most ``TRAIN_TILES``.
        batch: tiles at a time.
        workers: loader processes; None: as many as pay off.
        device: ``cpu``, ``cuda``; None: a GPU where there is one.
        weights: ``model.safetensors``, or ``best.safetensors``.
        on_tile: called with tiles done and tiles in all.

    Raises:
        UsageError: the split is the test split, or under ``paper`` its stand-in ``val``.
        DataError: the run is not complete or damaged, or no pixel of the split is marked.
    """
    check_split(dataset.split, dataset.protocol)
    places = tiles_of(dataset)
    sample = _sampled(run_dir, dataset, places, batch, workers, device, weights, on_tile)
    if not len(sample.truth):
        raise DataError(f"no pixel of split {dataset.split} is marked: nothing to calibrate on; --calibrate-on none")
    names = dataset.classes.names
    run = RunFolder(run_dir).read_usable_config()
    fitted = fit(sample, gamma=gamma_of(run.train))
    return Calibration(
        fitted.temperature,
        {name: float(b) for name, b in zip(names, fitted.bias, strict=True)} if fitted.bias.any() else {},
        names,
        split=dataset.split,
        tiles=len(places),
        pixels=len(sample.truth),
        tiles_hash=dataset.tiles_hash,
        experts=dataset.split == "val" and bool(expert_tiles(dataset)),
        weights=weights,
        weights_sha256=weights_digest(RunFolder(run_dir), weights),
        source=dataset.source,
        before=reliability(sample),
        after=reliability(fitted.seen(sample), fitted.temperature, fitted.bias),
        gamma=fitted.gamma,
        temperature_alone=fitted.alone,
    )


def check_split(split: str, protocol: str) -> None:
    """Refuse to calibrate on tiles that scores are taken on.

    Raises:
        UsageError: the split is ``test``, or ``val`` under ``paper``, where it is the test split.
    """
    if split == "test":
        raise UsageError("a calibration is not fitted on the test split; --calibrate-on val, or train")
    if split == "val" and protocol == "paper":
        raise UsageError(
            "under protocol paper val is the test split, on which nothing is fitted; --calibrate-on train, or none"
        )


def tiles_of(dataset: TileSet) -> Sequence[int]:
    """Places of the tiles of a split that a calibration is fitted on."""
    count = len(dataset)
    if dataset.split == "val":
        return expert_tiles(dataset) or range(count)
    return range(count) if count <= TRAIN_TILES else [place * count // TRAIN_TILES for place in range(TRAIN_TILES)]


# --- the sample -------------------------------------------------------------------------------------------------------


@torch.inference_mode()
def _sampled(
    run_dir: Path,
    dataset: TileSet,
    places: Sequence[int],
    batch: int,
    workers: int | None,
    device: str | None,
    weights: str,
    on_tile: Callable[[int, int], None] | None,
) -> Sample:
    network, _, normaliser = load(run_dir, device=device, weights=weights)
    classes = len(dataset.classes.names)
    area = sum(math.prod(dataset.tiles[place].shape) for place in places)
    share = min(1.0, MOST_VALUES / classes / max(area, 1))
    logits, truths, done = [np.zeros((0, classes), np.float32)], [np.zeros(0, np.uint8)], 0
    for one in batches(tile_loader(dataset, batch=batch, workers=workers, places=places)):
        moved = batch_to(one, normaliser.primary.factor.device)
        found = network(*normaliser(moved.primary, moved.auxiliary)).float().flatten(2)
        for of_tile, label, number in zip(found, one.label, one.number.tolist(), strict=True):
            truth = label.numpy().ravel()
            chosen = drawn(truth != IGNORE, share, number)
            logits.append(of_tile[:, torch.from_numpy(chosen).to(found.device)].T.cpu().numpy())
            truths.append(truth[chosen])
        done += len(one.label)
        if on_tile:
            on_tile(done, len(places))
    return Sample(np.concatenate(logits), np.concatenate(truths))


def drawn(marked: NDArray[np.bool_], share: float, number: int) -> NDArray[np.int64]:
    """Places of a share of the marked pixels of a tile, drawn by the tile's number alone; int64, ascending."""
    places = np.flatnonzero(marked)
    if share >= 1:
        return places
    rng = np.random.Generator(np.random.PCG64([0, number]))
    return np.sort(rng.choice(places, math.ceil(share * len(places)), replace=False))


# --- the fit ----------------------------------------------------------------------------------------------------------


class Fitted(NamedTuple):
    """What a fit found.

    Attributes:
        gamma: of the focal loss that is undone first; 0 where none is.
        temperature: that logits are divided by.
        bias: float64 (K,), added after that; all 0 where none is needed.
        alone: the temperature if nothing else was fitted.
    """

    gamma: float
    temperature: float
    bias: NDArray[np.float64]
    alone: float

    def seen(self, sample: Sample) -> Sample:
        """A sample as the temperature meets it: with the focal loss undone."""
        return _without_focal(sample, self.gamma)


def gamma_of(train: Mapping[str, Any]) -> float:
    """The exponent of the focal loss that a network was trained with; 0 for another loss, or where it is not known."""
    return float(train.get("gamma") or 0.0) if train.get("loss") == "focal" else 0.0


def fit(sample: Sample, *, gamma: float = 0.0, enough: float = ENOUGH) -> Fitted:
    """The simplest calibration that leaves an ECE of at most ``enough``: a temperature; with the focal loss undone;
    with biases too.

    Biases add up to 0 over the classes that the sample holds; those of the others are 0. Values are rounded to six
    digits: the sums that they come from differ in their last digits from machine to machine.

    Args:
        gamma: of the focal loss that the network was trained with, 0 for another loss.
    """
    classes = sample.logits.shape[1]
    nobody = np.zeros(0, np.int64)
    alone, none = _newton(sample, nobody)
    if reliability(sample, alone).ece <= enough:
        return Fitted(0.0, alone, none, alone)
    seen = _without_focal(sample, gamma)
    temperature, none = _newton(seen, nobody) if gamma else (alone, none)
    if gamma and reliability(seen, temperature).ece <= enough:
        return Fitted(gamma, temperature, none, alone)
    present = np.flatnonzero(np.bincount(sample.truth, minlength=classes)[:classes])
    return Fitted(gamma, *_newton(seen, present), alone)


def _without_focal(sample: Sample, gamma: float) -> Sample:
    return Sample(without_focal(torch.from_numpy(sample.logits), gamma).numpy(), sample.truth)


def _newton(sample: Sample, free: NDArray[np.int64]) -> tuple[float, NDArray[np.float64]]:
    """Temperature and biases of the least mean negative log-likelihood; only classes in ``free`` have a bias."""
    classes = sample.logits.shape[1]

    def split(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        bias = np.zeros(classes)
        bias[free] = parameters[1:]
        return float(parameters[0]), bias

    parameters = np.array([1.0, *[0.0] * len(free)])
    low, high = 1 / _HIGHEST, 1 / _LOWEST
    loss, gradient, curvature = _loss(sample, *split(parameters), free)
    for _ in range(50):
        step = np.linalg.solve(curvature + 1e-12 * np.eye(len(parameters)), gradient)
        length = 1.0
        while True:
            tried = parameters - length * step
            tried[0] = min(max(tried[0], low), high)
            outcome = _loss(sample, *split(tried), free)
            if outcome[0] <= loss or length < 1e-6:
                break
            length /= 2
        moved = float(np.abs(tried - parameters).max())
        parameters, (loss, gradient, curvature) = tried, outcome
        if moved < 1e-9:
            break
    inverse, bias = split(parameters)
    return float(f"{1 / inverse:.6g}"), np.round(bias, 6)


def _loss(
    sample: Sample, inverse: float, bias: NDArray[np.float64], free: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Mean negative log-likelihood with its penalty, its gradient and its curvature in (1 / temperature, free biases).

    With p the probabilities and z the logits of a pixel: the derivative by the inverse temperature is p z - z[truth],
    by a bias p - [truth]; the second derivatives are covariances under p.
    """
    count, size = len(sample.truth), 1 + len(free)
    loss, gradient, curvature = 0.0, np.zeros(size), np.zeros((size, size))
    for start in range(0, count, _CHUNK):
        logits = sample.logits[start : start + _CHUNK].astype(np.float64)
        truth = sample.truth[start : start + _CHUNK]
        rows = np.arange(len(truth))
        p, logarithm = _probabilities(logits * inverse + bias)
        loss -= float(logarithm[rows, truth].sum())
        mean = (p * logits).sum(1)
        gradient[0] += float((mean - logits[rows, truth]).sum())
        curvature[0, 0] += float(((p * logits**2).sum(1) - mean**2).sum())
        if len(free):
            of_free = p[:, free]
            hits = np.bincount(truth, minlength=logits.shape[1])[free]
            gradient[1:] += of_free.sum(0) - hits
            curvature[1:, 1:] += np.diag(of_free.sum(0)) - of_free.T @ of_free
            mixed = (of_free * (logits[:, free] - mean[:, None])).sum(0)
            curvature[0, 1:] += mixed
            curvature[1:, 0] += mixed
    loss, gradient, curvature = loss / count, gradient / count, curvature / count
    if len(free):
        middle, count = float(bias[free].mean()), len(free)
        loss += _PENALTY * float((bias[free] ** 2).mean()) + _TOGETHER * middle**2
        gradient[1:] += 2 * (_PENALTY * bias[free] + _TOGETHER * middle) / count
        curvature[1:, 1:] += 2 * _PENALTY / count * np.eye(count) + 2 * _TOGETHER / count**2
    return loss, gradient, curvature


def _probabilities(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Softmax of each row, and its logarithm."""
    shifted = logits - logits.max(1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(1, keepdims=True)
    return powers / total, shifted - np.log(total)


# --- what it does -----------------------------------------------------------------------------------------------------


def reliability(sample: Sample, temperature: float = 1.0, bias: NDArray[np.float64] | None = None) -> Reliability:
    """How sure a network is of a sample, and how often right; as it is, or calibrated."""
    bins = np.zeros((3, BINS), np.int64)
    squared = 0
    for start in range(0, len(sample.truth), _CHUNK):
        truth = sample.truth[start : start + _CHUNK]
        logits = sample.logits[start : start + _CHUNK].astype(np.float64) / temperature
        p, _ = _probabilities(logits if bias is None else logits + bias)
        confidence, rows = p.max(1), np.arange(len(truth))
        right = p.argmax(1) == truth
        place = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
        bins[0] += np.bincount(place, minlength=BINS)
        bins[1] += np.bincount(place[right], minlength=BINS)
        # Whole numbers below 2^53: float64 sums them exactly.
        bins[2] += np.bincount(place, np.rint(confidence * MILLION), minlength=BINS).astype(np.int64)
        errors = (p**2).sum(1) - 2 * p[rows, truth] + 1
        squared += int(np.rint(errors * MILLION).sum())
    pixels, right_ones, confidences = (tuple(row.tolist()) for row in bins)
    return Reliability(pixels, right_ones, confidences, squared)
