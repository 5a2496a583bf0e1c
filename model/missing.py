"""Missing inputs: parts of a tile lose one of two inputs in training or scoring, and networks learn what to read there.

Which pixels lose an input follows from seed, epoch, the sample's number and how often it came before, as in
``loader.augment``: the cut into micro-batches, devices and resuming change nothing. An input is lost as it is lost in
satellite data: over the whole tile (no acquisition), beyond the edge of a swath, or below clouds. What is lost is 0,
as where there is no data.

A network that is trained so reads a learned estimate where an input has no data, and has statistics of BatchNorm for
each state of its inputs (``input_states``). Comes after ``loader`` and before ``training`` and ``score``.

Letters: B batch, C bands, H and W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..pipeline.errors import UsageError
from ..pipeline.spec.bands import NODATA
from .input_states import with_norms_by_state
from .loader import Batch, TileSet

if TYPE_CHECKING:
    from ..pipeline.dataset.samples import Sample

INPUTS = ("auxiliary", "primary")

SCORING_SEED = 0
"""All scores lose the same pixels."""


@dataclass(frozen=True)
class Shares:
    """Expected share of the pixels without each input, 0..1; their sum is 1 at most, as no pixel loses both.

    Raises:
        UsageError: a share is outside 0..1, or the sum is above 1.
    """

    auxiliary: float = 0.0
    primary: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.auxiliary <= 1 and 0 <= self.primary <= 1):
            raise UsageError(f"shares {self.auxiliary:g} and {self.primary:g} of lost inputs: each must be 0 to 1")
        if self.auxiliary + self.primary > 1:
            raise UsageError(
                f"the inputs cannot be lost in {self.auxiliary:g} (auxiliary) and {self.primary:g} (primary) of the "
                "pixels: no pixel loses both, so the sum must be 1 at most"
            )

    @property
    def total(self) -> float:
        """Share of the pixels without one of the inputs."""
        return self.auxiliary + self.primary

    def of_views(self) -> tuple[Shares, ...]:
        """The shares of each view that lacks an input, where a complete view is computed beside them.

        Over all views, the complete one too, each input is lost in the share that is asked for.

        Raises:
            UsageError: nothing is lost, or more than the views of an input have.
        """
        lost = {name: getattr(self, name) for name in INPUTS if getattr(self, name)}
        views = 1 + len(lost)
        if not lost:
            raise UsageError("drop_views: no input is dropped; give drop_auxiliary or drop_primary a share above 0")
        for name, share in lost.items():
            # A third is written as 0.333 or with all its digits.
            if share * views > 1 + 1e-6:
                raise UsageError(
                    f"drop_{name} is {share:g}; with drop_views each of the {views} views is an equal part of what is "
                    f"computed, so it must be {1 / views:.4g} at most"
                )
        return tuple(Shares(**{name: min(1.0, share * views)}) for name, share in lost.items())

    def __bool__(self) -> bool:
        return self.total > 0

    def __str__(self) -> str:
        """``auxiliary``, ``auxiliary-0.5-primary-0.3``: what a file of scores is named by."""
        lost = [(name, getattr(self, name)) for name in INPUTS]
        return "-".join(name if share == 1 else f"{name}-{share:g}" for name, share in lost if share)

    def to_dict(self) -> dict[str, float]:
        """Shares above 0 by input, with the seed of the scores that are taken so; empty where nothing is lost."""
        lost = {name: getattr(self, name) for name in INPUTS if getattr(self, name)}
        return {**lost, "seed": SCORING_SEED} if lost else {}


ALL_THERE = Shares()
"""Nothing is lost."""


def parse_shares(texts: Sequence[str]) -> Shares:
    """Shares out of ``auxiliary`` (all of it), ``primary:0.3``; nothing is lost where no text is given.

    Raises:
        UsageError: a text is something else, an input comes twice, or the shares do not fit each other.
    """
    shares: dict[str, float] = {}
    for text in texts:
        name, separator, number = text.partition(":")
        share = _number(number) if separator else 1.0
        if name not in INPUTS or share is None or not 0 < share <= 1:
            raise UsageError(
                f"--drop {text}: write auxiliary, primary, or one with a share above 0, such as primary:0.3"
            )
        if name in shares:
            raise UsageError(f"--drop: {name} is given twice; give it once")
        shares[name] = share
    return Shares(**shares)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


# --- which pixels lose an input ---------------------------------------------------------------------------------------

_STREAM = 0x6D697373
"""Sets these draws apart from those of ``loader.augment``, which follow from the same numbers."""

FORMS = ("tile", "swath", "cloud")
CHANCES = (0.5, 0.25, 0.25)
"""Chance of each form where something is lost: the whole tile is what a missing acquisition costs, and what scores
without an input ask for; edges and clouds teach what to do where both lie side by side."""

_TRACK_DEG = (8.0, 20.0)
"""Angle between a swath's edge and the meridian: Sentinel's tracks lean 8 degrees by their inclination of 98 degrees,
some more by the Earth's rotation and towards the poles."""

_WAVES = 12
"""Half waves of the cloud noise along a tile's side; the largest give its patches, the smallest their edges."""


def lost_pixels(
    shape: tuple[int, int], shares: Shares, *, seed: int, number: int, epoch: int = 0, before: int = 0
) -> NDArray[np.bool_]:
    """Which pixels of one sample lose an input, at random: one sample loses one input, in one place.

    Args:
        shape: height and width of the sample, as it is computed.
        seed, epoch, number, before: decide what is drawn: seed and epoch of the training, the sample's number in its
            data set, and how often it came earlier in the epoch.

    Returns:
        bool (2, H, W) in the order of ``INPUTS``.
    """
    rng = np.random.default_rng((_STREAM, seed, epoch, number, before))
    lost = np.zeros((2, *shape), dtype=np.bool_)
    if not shares:
        return lost
    which = int(rng.random() * shares.total >= shares.auxiliary)
    form = str(rng.choice(FORMS, p=CHANCES))
    if form == "tile":
        lost[which] = rng.random() < shares.total
        return lost
    # Uniform from 0 or from 1 - 2 (1 - total) on, so that its mean is the share that is asked for.
    part = rng.uniform(max(0.0, 2 * shares.total - 1), 1.0) if rng.random() < 2 * shares.total else 0.0
    field = _distances(*shape, rng) if form == "swath" else _smooth_noise(*shape, rng)
    lost[which] = _lowest(field, part)
    return lost


def _lowest(field: NDArray[np.float64], part: float) -> NDArray[np.bool_]:
    """The pixels of the lowest values, as large a part of all as is asked for."""
    count = round(part * field.size)
    if count in (0, field.size):
        return np.full(field.shape, count > 0)
    level = np.partition(field, count - 1, axis=None)[count - 1]
    lowest: NDArray[np.bool_] = field <= level
    return lowest


def _distances(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Distance from the edge of a swath, or from the end of a slice, which lies across it."""
    angle = math.radians(rng.uniform(*_TRACK_DEG) * rng.choice((-1, 1)) + 90 * int(rng.integers(4)))
    rows, columns = np.arange(height, dtype=float)[:, None], np.arange(width, dtype=float)[None]
    return rows * math.sin(angle) + columns * math.cos(angle)


def _smooth_noise(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A sum of waves of random height, large ones high: below a level it looks like patches of cloud."""
    wave = np.arange(_WAVES)
    heights = rng.standard_normal((_WAVES, _WAVES)) / (1 + wave[:, None] ** 2 + wave[None] ** 2)
    down, across = (np.cos(np.pi * np.outer(np.arange(side) + 0.5, wave) / side) for side in (height, width))
    noise: NDArray[np.float64] = down @ heights @ across.T
    return noise


# --- in training ------------------------------------------------------------------------------------------------------


def drop_in_training(batch: Batch, shares: Shares, *, seed: int, epoch: int, again: Sequence[int] = ()) -> Batch:
    """An augmented batch in which some pixels have lost the one or the other input, and none the last one it had.

    Args:
        batch: stored values.
        seed, epoch, again: as of ``loader.augment``.
    """
    if not shares:
        return batch
    height, width = batch.label.shape[1:]
    masks = [
        lost_pixels((height, width), shares, seed=seed, number=number, epoch=epoch, before=again[i] if again else 0)
        for i, number in enumerate(batch.number.tolist())
    ]
    lost = torch.from_numpy(np.stack(masks)).to(batch.label.device)
    without_auxiliary = lost[:, 0] & _has_data(batch.primary)
    without_primary = lost[:, 1] & _has_data(batch.auxiliary)
    return batch._replace(
        primary=_emptied(batch.primary, without_primary), auxiliary=_emptied(batch.auxiliary, without_auxiliary)
    )


def version_in_training(
    batch: Batch, shares: Shares, *, view: int | None, seed: int, epoch: int, again: Sequence[int] = ()
) -> Batch:
    """What a training computes of an augmented batch.

    Args:
        batch: stored values.
        shares: of the pixels that are computed, without each input.
        view: 0: the complete samples; from 1: without each input that has a share, one after the other; None: each
            sample as ``drop_in_training`` draws it.
        seed, epoch, again: as of ``loader.augment``.
    """
    if view == 0:
        return batch
    lost = shares if view is None else shares.of_views()[view - 1]
    return drop_in_training(batch, lost, seed=seed, epoch=epoch, again=again)


def _has_data(stored: Tensor) -> Tensor:
    """Where an input has data in all its bands: uint16 (B, C, H, W) -> bool (B, H, W)."""
    return (_bits(stored) != NODATA).all(1)


def _emptied(stored: Tensor, lost: Tensor) -> Tensor:
    return _bits(stored).masked_fill(lost[:, None], NODATA).view(torch.uint16)


def _bits(stored: Tensor) -> Tensor:
    """The same bits as int16: uint16 knows few operations."""
    return stored.view(torch.int16)


def counting_either(tiles: TileSet) -> TileSet:
    """The same tiles; a pixel counts where one of the two inputs has data. Sets that cannot say so stay as they are."""
    either = getattr(tiles, "counting_either", None)
    return tiles if either is None else cast(TileSet, either())


# --- in scoring -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TilesWithout:
    """A data set whose samples have lost inputs; which pixels count does not change.

    Attributes:
        whole: the data set.
        shares: what is lost of its inputs.
        seed: of the choice.
    """

    whole: TileSet
    shares: Shares
    seed: int = SCORING_SEED

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what pickle asks of an object that has no fields yet
            raise AttributeError(name)
        return getattr(self.whole, name)

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int, /) -> Sample:
        sample = self.whole[index]
        height, width = sample.label.shape
        auxiliary, primary = lost_pixels((height, width), self.shares, seed=self.seed, number=index)
        return sample._replace(
            primary=np.where(primary, NODATA, sample.primary).astype(np.uint16),
            auxiliary=np.where(auxiliary, NODATA, sample.auxiliary).astype(np.uint16),
        )


def tiles_without(tiles: TileSet, shares: Shares) -> TileSet:
    """A data set whose samples have lost inputs, the same ones each time; the set itself where nothing is lost.

    Raises:
        UsageError: the data set was opened with one input.
    """
    if not shares:
        return tiles
    check_two_inputs(tiles.auxiliary, f"--drop {shares}")
    return cast(TileSet, TilesWithout(tiles, shares))


def check_two_inputs(auxiliary: Sequence[str], what: str) -> None:
    """Refuse to drop inputs of a network that has one.

    Args:
        auxiliary: bands of the auxiliary input.
        what: was asked for, for the message.

    Raises:
        UsageError: there are none.
    """
    if not auxiliary:
        raise UsageError(f"{what}: the network has one input, which cannot be left out; choose one with two inputs")


# --- what is read where there is no data ------------------------------------------------------------------------------

TOKENS = ("token_auxiliary", "token_primary")
ESTIMATES = ("estimate_auxiliary", "estimate_primary")
"""Names of the weights, in the order of ``INPUTS``."""


def for_missing_inputs(
    network: nn.Module, primary_bands: int, auxiliary_bands: int, *, by_state: bool = True, fewest: int = 1
) -> nn.Module:
    """The same network, which reads learned values where all bands of an input are 0 (no data).

    All its own weights keep their names. Added are two tokens, float32 (C,), one value for each band of an input; and
    two estimates, float32 (C, C of the other input), which add a linear function of the other input's bands. All begin
    as 0: the network begins as the one without them.

    Args:
        by_state: with estimates, and statistics of norms for each state of the inputs; runs of earlier versions have
            tokens alone.
        fewest: samples that a training step of the network needs at a time.
    """
    bands = {"auxiliary": auxiliary_bands, "primary": primary_bands}
    for name, token in zip(INPUTS, TOKENS, strict=True):
        network.register_parameter(token, nn.Parameter(torch.zeros(bands[name])))
    if not by_state:
        network.register_forward_pre_hook(_filled)
        return network
    for estimate, shape in zip(
        ESTIMATES, ((auxiliary_bands, primary_bands), (primary_bands, auxiliary_bands)), strict=True
    ):
        network.register_parameter(estimate, nn.Parameter(torch.zeros(shape)))
    return with_norms_by_state(network, _filled, fewest=fewest)


def _filled(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Inputs of a call, float32 (B, C, H, W) each, with learned values where there is no data."""
    primary, auxiliary, *rest = inputs
    of_auxiliary, of_primary = (getattr(network, name, None) for name in ESTIMATES)
    first = _with_values(primary, cast(Tensor, network.token_primary), of_primary, auxiliary)
    second = _with_values(auxiliary, cast(Tensor, network.token_auxiliary), of_auxiliary, primary)
    return first, second, *rest


def _with_values(x: Tensor, token: Tensor, estimate: Tensor | None, other: Tensor) -> Tensor:
    absent = (x == 0).all(1, keepdim=True)
    values = token.to(x)[:, None, None]
    if estimate is not None:
        values = values + torch.einsum("oi,bihw->bohw", estimate.to(x), other)
    return torch.where(absent, values, x)
