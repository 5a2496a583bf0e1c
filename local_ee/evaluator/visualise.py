"""``Image.visualize``: bands as the red, green and blue of a picture.

A value becomes 0..1 between ``min`` and ``max`` (or by ``gain`` and ``bias``), is cut off there, and raised to 1/gamma;
then it is a grey of 0..255, or a colour between two neighbours of the palette. Tiles of maps are made of these bands.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..refusal import Refusal, not_built
from .grid import RequestGrid
from .image import Band, Evaluation, Image, Node, Pointwise
from .image_functions import select
from .values import type_name
from .warp import Raster, Values

NAME = "Image.visualize"
RGB = ("vis-red", "vis-green", "vis-blue")
GREY = ("vis-gray",)
MAX_COLOURS = 10_000

Colour = tuple[int, int, int]


class Faded(Node):
    """A picture's band with an opacity below 1: only whoever draws the picture knows what that means.

    Masks are but valid or not here, Earth Engine's have 256 levels; so whatever else wants these pixels gets a refusal.
    """

    def __init__(self, node: Node, opacity: float) -> None:
        self.inputs = (node,)
        self.opacity = opacity

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:  # noqa: ARG002 - as every band
        raise not_built(f"{NAME} with an opacity below 1, other than as a layer of a map,")


@dataclass(frozen=True)
class Stretch:
    """How the values of one band become 0..1.

    Attributes:
        low, high: values that become 0 and 1; equal ones make a step.
        gamma: correction; above 1 makes the middle brighter.
    """

    low: float
    high: float
    gamma: float = 1.0

    def __call__(self, values: Values) -> Values:
        """float64 (H, W) of 0..1; NaN becomes 0."""
        if self.high == self.low:
            return (np.asarray(values) >= self.high).astype(np.float64)
        share = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)
        return np.nan_to_num(np.clip(share, 0.0, 1.0)) ** (1.0 / self.gamma)


def visualise(
    image: Image,
    bands: Any = None,
    gain: Any = None,
    bias: Any = None,
    low: Any = None,
    high: Any = None,
    gamma: Any = None,
    opacity: float | None = None,
    palette: Any = None,
    force_rgb: bool = False,
) -> Image:
    """The picture of an image: ``vis-red``, ``vis-green``, ``vis-blue``, or ``vis-gray`` of one band without a palette.

    A pixel is masked where any of the bands is. Numbers may be one for all bands, or a list of one for each.

    Raises:
        Refusal: the parameters contradict each other or the image.
    """
    shown = _bands(image, bands)
    colours = colours_of(palette)
    if colours and len(shown) > 1:
        raise Refusal(f"{NAME}: Cannot provide a palette when visualizing more than one band.")
    if len(shown) == 2:
        raise not_built(f"{NAME} of two bands")
    stretches = _stretches(shown, gain, bias, low, high, gamma, top=float(max(len(colours) - 1, 1)) if colours else 255)
    if len(shown) == 1:
        drawn = _coloured(shown[0], stretches[0], colours) if colours else _grey(shown[0], stretches[0], force_rgb)
    else:
        nodes = [band.node for band in shown]
        drawn = [_byte(nodes[i:] + nodes[:i], stretch) for i, stretch in enumerate(stretches)]
    names = RGB if len(drawn) == len(RGB) else GREY
    first = replace(shown[0], dtype="uint8", limits=None)
    made = (replace(first, name=name, node=_faded(node, opacity)) for name, node in zip(names, drawn, strict=True))
    return image.with_bands(made)


def _bands(image: Image, names: Any) -> tuple[Band, ...]:
    """The bands to be shown: those that are named, else the first three."""
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
    if names is not None and not isinstance(names, list):
        raise Refusal(f"{NAME}: Parameter 'bands' must be a list of names, not {type_name(names)}.")
    # One band may be shown in two colours, which ``select`` refuses.
    shown = tuple(band for name in names for band in select(image, [name], None).bands) if names else image.bands[:3]
    if not shown:
        raise Refusal(f"{NAME}: The image has no bands.")
    if len(shown) > 3:
        raise Refusal(f"{NAME}: At most 3 bands can be shown, not {len(shown)}.")
    return shown


def _stretches(
    bands: Sequence[Band], gain: Any, bias: Any, low: Any, high: Any, gamma: Any, *, top: float
) -> list[Stretch]:
    """One for each band.

    Args:
        top: what ``gain`` and ``bias`` lead to at the upper end: 255, or the last index of a palette.
    """
    count = len(bands)
    gains, biases, lows, highs = (
        _numbers(name, value, count) for name, value in (("gain", gain), ("bias", bias), ("min", low), ("max", high))
    )
    gammas = _numbers("gamma", gamma, count) or [1.0] * count
    if any(not value > 0 for value in gammas):
        raise Refusal(f"{NAME}: Parameter 'gamma' must be above zero.")
    if (gains or biases) and (lows or highs):
        raise Refusal(f"{NAME}: Gain and bias cannot be specified together with min and max.")
    if gains or biases:
        gains, biases = gains or [1.0] * count, biases or [0.0] * count
        if any(value == 0 for value in gains):
            raise Refusal(f"{NAME}: Parameter 'gain' must not be zero.")
        ends = [(-b / g, (top - b) / g) for g, b in zip(gains, biases, strict=True)]
    elif lows or highs:
        ends = list(zip(lows or [0.0] * count, highs or [1.0] * count, strict=True))
    else:
        ends = [_range_of(band) for band in bands]
    return [Stretch(*end, gamma=value) for end, value in zip(ends, gammas, strict=True)]


def _range_of(band: Band) -> tuple[float, float]:
    """Floats are shown from 0 to 1, integers over all values of their type.

    Source: https://developers.google.com/earth-engine/guides/image_visualization
    """
    if np.dtype(band.dtype).kind == "f":
        return 0.0, 1.0
    limits = np.iinfo(band.dtype)
    return float(limits.min), float(limits.max)


def _numbers(name: str, value: Any, count: int) -> list[float]:
    """A number for each band; none where the parameter is missing."""
    if value is None or value == []:
        return []
    items = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    try:
        numbers = [float(item) for item in items if not isinstance(item, bool)]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != len(items) or not all(math.isfinite(number) for number in numbers):
        raise Refusal(f"{NAME}: Parameter '{name}' must hold finite numbers.")
    if len(numbers) not in (1, count):
        raise Refusal(f"{NAME}: Parameter '{name}' holds {len(numbers)} values for {count} bands.")
    return numbers * (count if len(numbers) == 1 else 1)


def colours_of(palette: Any) -> list[Colour]:
    """The colours of a palette, red, green and blue of 0..255 each; none where there is no palette.

    Raises:
        Refusal: it holds something else than CSS colours.
    """
    if palette is None or palette == []:
        return []
    items = palette.split(",") if isinstance(palette, str) else palette
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise Refusal(f"{NAME}: Parameter 'palette' must be a list of colours.")
    if len(items) > MAX_COLOURS:
        raise Refusal(f"{NAME}: A palette of {len(items)} colours is more than {MAX_COLOURS}.")
    return [_colour(item.strip()) for item in items]


def _colour(text: str) -> Colour:
    digits = text.removeprefix("#")
    if not re.fullmatch(r"[0-9a-fA-F]{6}|[0-9a-fA-F]{3}", digits):
        # A table of 148 names; it takes a fifth of a second to load, and most palettes hold none.
        from matplotlib.colors import CSS4_COLORS

        digits = str(CSS4_COLORS.get(text.lower(), "")).removeprefix("#")
    if not digits:
        raise Refusal(f"{NAME}: Invalid color '{text[:40]}'.")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def _grey(band: Band, stretch: Stretch, force_rgb: bool) -> list[Node]:
    return [_byte([band.node], stretch)] * (3 if force_rgb else 1)


def _coloured(band: Band, stretch: Stretch, colours: list[Colour]) -> list[Node]:
    positions = np.linspace(0.0, 1.0, len(colours)) if len(colours) > 1 else np.zeros(1)

    def channel(number: int) -> Callable[..., Values]:
        parts = [float(colour[number]) for colour in colours]
        return lambda values: _bytes(np.interp(stretch(values), positions, parts))

    return [Pointwise(channel(number), band.node) for number in range(3)]


def _byte(nodes: list[Node], stretch: Stretch) -> Node:
    """The first node as 0..255, masked where any of the nodes is."""
    return Pointwise(lambda values, *_: _bytes(255.0 * stretch(values)), *nodes)


def _bytes(values: Values) -> Values:
    return np.floor(values + 0.5).astype(np.uint8)


def _faded(node: Node, opacity: float | None) -> Node:
    return node if opacity is None or opacity >= 1 else Faded(node, max(float(opacity), 0.0))
