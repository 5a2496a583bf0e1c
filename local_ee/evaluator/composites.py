"""Composites: what becomes of the images of a collection, pixel by pixel.

Bands of a composite have no projection of their own (``grid.COMPOSITE``), so they cannot be resampled from. Masked
pixels never count. Sums and counts add up scene after scene; a median holds all scenes of one band at once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from ..refusal import Refusal, not_built
from .arithmetic import cast_values, union_type
from .collection import Collection
from .grid import COMPOSITE, RequestGrid
from .image import Band, Evaluation, Image, Node
from .values import type_name
from .warp import Mask, Raster, Values

MAX_STACK_PX = 128_000_000
"""Pixels of all scenes that a median may hold at once; beyond it memory runs out, as it would on Earth Engine."""


class Stack(Node):
    """Sum and number of the valid values of many bands, one after the other: never more than one scene in memory.

    ``together`` holds the stacks of the other bands of the same images; they are computed in the same pass where they
    are wanted too, since bands of a scene share their positions.
    """

    def __init__(self, *inputs: Node) -> None:
        self.inputs = inputs
        self.together: tuple[Stack, ...] = (self,)

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> StackRaster:
        stacks = [self, *(stack for stack in self.together if stack is not self and evaluation.wants(stack, grid))]
        sums = [_Sum(grid) for _ in stacks]
        for nodes in zip(*(stack.inputs for stack in stacks), strict=True):
            for node, total in zip(nodes, sums, strict=True):
                total.add(evaluation.pixels(node, grid))
        for stack, total in zip(stacks[1:], sums[1:], strict=True):
            evaluation.keep(stack, grid, total.raster())
        return sums[0].raster()


class _Sum:
    def __init__(self, grid: RequestGrid) -> None:
        self._total = np.zeros(grid.shape, dtype=np.float64)
        self._count = np.zeros(grid.shape, dtype=np.int32)
        self._everywhere = np.int32(0)

    def add(self, raster: Raster) -> None:
        if raster.mask is None:
            self._total += raster.values
            self._everywhere += 1
        elif raster.mask.any():
            np.add(self._total, raster.values, out=self._total, where=raster.mask)
            self._count += raster.mask

    def raster(self) -> StackRaster:
        return StackRaster(self._total, count=self._count + self._everywhere)


@dataclass(frozen=True)
class StackRaster(Raster):
    """Sum of the valid values of each pixel as ``values``, and how many there were: int32 (H, W)."""

    count: NDArray[np.int32] = field(kw_only=True)

    @property
    def covered(self) -> Mask | None:
        """Where there was any; None = everywhere."""
        return _partial(self.count > 0)


class Reduced(Node):
    """What a stack makes of its pixels; masked where nothing was valid."""

    def __init__(self, stack: Stack) -> None:
        self.inputs = (stack,)

    @abstractmethod
    def reduce(self, stack: StackRaster) -> Values:
        """One value for each pixel; anything where nothing was valid."""

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        stack = evaluation.pixels(self.inputs[0], grid)
        assert isinstance(stack, StackRaster)
        return Raster(self.reduce(stack), stack.covered)


class MeanOf(Reduced):
    def reduce(self, stack: StackRaster) -> Values:
        mean: Values = stack.values / np.maximum(stack.count, 1)
        return mean


class SumOf(Reduced):
    def reduce(self, stack: StackRaster) -> Values:
        return stack.values


class CountOf(Reduced):
    def reduce(self, stack: StackRaster) -> Values:
        return stack.count


class Extreme(Node):
    """The largest (or smallest) valid value of each pixel, scene after scene."""

    def __init__(self, better: Callable[[Values, Values], Values], dtype: str, *inputs: Node) -> None:
        self.better, self.dtype, self.inputs = better, dtype, inputs

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        best = np.zeros(grid.shape, dtype=self.dtype)
        covered = np.zeros(grid.shape, dtype=bool)
        for node in self.inputs:
            raster = evaluation.pixels(node, grid)
            values = cast_values(raster.values, self.dtype)
            taken = raster.valid & (~covered | self.better(values, best))
            np.copyto(best, values, where=taken)
            covered |= taken
        return Raster(best, _partial(covered))


class Median(Node):
    """The middle of the valid values of each pixel, the mean of the two middle ones where their number is even."""

    def __init__(self, *inputs: Node) -> None:
        self.inputs = inputs

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        if len(self.inputs) * grid.width * grid.height > MAX_STACK_PX:
            raise Refusal("User memory limit exceeded.")
        stack = np.empty((len(self.inputs), *grid.shape), dtype=np.float64)
        count = np.zeros(grid.shape, dtype=np.intp)
        for layer, node in zip(stack, self.inputs, strict=True):
            raster = evaluation.pixels(node, grid)
            valid = raster.valid
            layer[...] = np.where(valid, raster.values, np.inf)  # sorts behind all that counts
            count += valid
        stack.sort(axis=0)
        low, high = np.maximum((count - 1) // 2, 0), np.maximum(count // 2, 0)
        high = np.minimum(high, len(stack) - 1)
        middle = np.take_along_axis(stack, np.stack([low, high]), axis=0)
        covered = count > 0
        median = np.where(covered, middle.sum(axis=0) / 2, 0.0)
        return Raster(median, _partial(covered))


class Latest(Node):
    """The valid value of the last image that has one."""

    def __init__(self, dtype: str, *inputs: Node) -> None:
        self.dtype, self.inputs = dtype, inputs

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        values = np.zeros(grid.shape, dtype=self.dtype)
        covered = np.zeros(grid.shape, dtype=bool)
        for node in self.inputs:
            raster = evaluation.pixels(node, grid)
            np.copyto(values, cast_values(raster.values, self.dtype), where=raster.valid)
            covered |= raster.valid
        return Raster(values, _partial(covered))


class Best(Node):
    """Which image has the highest valid quality at each pixel, the later one of equals; masked where none has any."""

    def __init__(self, *inputs: Node) -> None:
        self.inputs = inputs

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        best = np.full(grid.shape, -np.inf)
        index = np.full(grid.shape, -1, dtype=np.int32)
        for number, node in enumerate(self.inputs):
            raster = evaluation.pixels(node, grid)
            better = raster.valid & (raster.values >= best)
            np.copyto(best, raster.values, where=better)
            index[better] = number
        return Raster(index, _partial(index >= 0))


class Chosen(Node):
    """A band of the image that ``Best`` names; masked where that image is."""

    def __init__(self, dtype: str, best: Best, *inputs: Node) -> None:
        self.dtype, self.inputs = dtype, (best, *inputs)

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        index = evaluation.pixels(self.inputs[0], grid).values
        values = np.zeros(grid.shape, dtype=self.dtype)
        covered = np.zeros(grid.shape, dtype=bool)
        for number, node in enumerate(self.inputs[1:]):
            raster = evaluation.pixels(node, grid)
            here = (index == number) & raster.valid
            np.copyto(values, cast_values(raster.values, self.dtype), where=here)
            covered |= here
        return Raster(values, _partial(covered))


def _partial(mask: Mask) -> Mask | None:
    return None if mask.all() else mask


# Functions of collections --------------------------------------------------------------------------------------------

Columns = list[tuple[Band, ...]]
"""The bands of the images of a collection: for each name those of all images, in order."""


def composite_functions() -> dict[str, Callable[..., Image]]:
    """Built functions that make one image of a collection; for one request, in which equal stacks are shared."""
    stacks: dict[tuple[int, ...], Stack] = {}

    def stack_of(nodes: tuple[Node, ...]) -> Stack:
        """Mean and count of the same bands share one pass over them."""
        return stacks.setdefault(tuple(map(id, nodes)), Stack(*nodes))

    def reduced(kind: type[Reduced], dtype: str) -> Callable[[Columns], list[Band]]:
        def bands(columns: Columns) -> list[Band]:
            made = [stack_of(_nodes(column)) for column in columns]
            for stack in made:
                stack.together = max(stack.together, tuple(made), key=len)
            return [_band(column, kind(stack), dtype) for column, stack in zip(columns, made, strict=True)]

        return bands

    makers: dict[str, Callable[[Columns], list[Band]]] = {
        "reduce.mean": reduced(MeanOf, "float64"),
        "reduce.sum": reduced(SumOf, "float64"),
        "reduce.count": reduced(CountOf, "int32"),
        "reduce.median": lambda columns: [_band(column, Median(*_nodes(column)), "float64") for column in columns],
        "reduce.min": lambda columns: [_extreme(column, np.less) for column in columns],
        "reduce.max": lambda columns: [_extreme(column, np.greater) for column in columns],
        "ImageCollection.mosaic": lambda columns: [_latest(column) for column in columns],
    }
    made = {name: _composite(name, bands) for name, bands in makers.items()}
    return {**made, "ImageCollection.qualityMosaic": quality_mosaic}


def _composite(name: str, bands: Callable[[Columns], list[Band]]) -> Callable[[Collection], Image]:
    def function(collection: Collection) -> Image:
        images = _homogeneous(name, collection.elements)
        return _image(images, bands(_columns(images)))

    return function


def quality_mosaic(collection: Collection, quality: str) -> Image:
    """All bands of the image whose quality band is highest, pixel by pixel."""
    name = "ImageCollection.qualityMosaic"
    images = _homogeneous(name, collection.elements)
    if not images:
        return Image(())
    if quality not in images[0].names:
        raise Refusal(f"{name}: There is no band '{quality}'. Available bands: [{', '.join(images[0].names)}].")
    columns = _columns(images)
    best = Best(*_nodes(columns[images[0].names.index(quality)]))
    chosen = [_band(column, Chosen(_type(column), best, *_nodes(column)), _type(column)) for column in columns]
    return _image(images, chosen)


def _image(images: list[Image], bands: list[Band]) -> Image:
    """A composite over the footprints of all images; without bands where there are no images."""
    footprints = [image.footprint for image in images]
    bounded = bool(footprints) and None not in footprints
    return Image(tuple(bands), footprint=shapely.union_all(footprints) if bounded else None)


def _columns(images: list[Image]) -> Columns:
    return list(zip(*(image.bands for image in images), strict=True))


def _nodes(column: tuple[Band, ...]) -> tuple[Node, ...]:
    return tuple(band.node for band in column)


def _type(column: tuple[Band, ...]) -> str:
    """The type that all bands have, or the one that holds them all."""
    dtype = column[0].dtype
    for band in column[1:]:
        dtype = dtype if band.dtype == dtype else union_type(dtype, band.dtype)
    return dtype


def _band(column: tuple[Band, ...], node: Node, dtype: str) -> Band:
    return Band(column[0].name, dtype, COMPOSITE, node)


def _extreme(column: tuple[Band, ...], better: Callable[[Any, Any], Any]) -> Band:
    return _band(column, Extreme(better, _type(column), *_nodes(column)), _type(column))


def _latest(column: tuple[Band, ...]) -> Band:
    return _band(column, Latest(_type(column), *_nodes(column)), _type(column))


def _homogeneous(name: str, elements: list[Any]) -> list[Image]:
    """The images of a collection, in which all have the same bands."""
    for element in elements:
        if not isinstance(element, Image):
            raise Refusal(f"{name}: The collection holds {type_name(element)}, not only images.")
        if element.names == elements[0].names:
            continue
        if name.startswith("ImageCollection."):
            raise not_built(f"{name} of images with different bands")
        raise Refusal(
            f"{name}: Expected a homogeneous image collection, but an image with incompatible bands was "
            f"encountered:\nFirst image type: {len(elements[0].bands)} bands ({elements[0].names}).\n"
            f"Current image type: {len(element.bands)} bands ({element.names}).\n"
            f"Image ID: {element.properties.get('system:index')}\n"
            "Some bands might require explicit casts."
        )
    return elements
