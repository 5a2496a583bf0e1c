"""Image: bands that are computed when and where they are needed.

A band is a node: what it is made of, and ``render(grid, session)``. Nodes are values: nothing is computed or read until
a grid is given, and ``Evaluation`` (one request) sees to it that a node which several others use is computed once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from ..scene import Scene, SceneBand, SceneSource
from .grid import COMPOSITE, Projection, RequestGrid, apply, grid_of
from .values import Geometry, encode
from .warp import Alignment, Mask, Mode, Raster, Values, _both, sample


class Node(ABC):
    """One band of pixels, not computed yet."""

    inputs: tuple[Node, ...] = ()

    @abstractmethod
    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        """Pixels on a grid; inputs come from ``evaluation.pixels``."""


class Evaluation:
    """The computation of one request: its catalogue, and the pixels of nodes that are still needed.

    A node that has several users is kept from the first use to the last and no longer, so memory is bounded by what the
    expression shares, not by how many scenes it reads.
    """

    def __init__(self, catalogue: SceneSource) -> None:
        self.catalogue = catalogue
        self.alignment = Alignment()
        self._uses: Counter[int] = Counter()
        self._kept: dict[int, dict[RequestGrid, Raster]] = {}

    def expect(self, outputs: Iterable[Node]) -> None:
        """Count who uses whom below the nodes that will be needed."""
        stack = list(outputs)
        self._uses.update(id(node) for node in stack)
        seen = set(self._uses)
        while stack:
            for node in stack.pop().inputs:
                self._uses[id(node)] += 1
                if id(node) not in seen:
                    seen.add(id(node))
                    stack.append(node)

    def pixels(self, node: Node, grid: RequestGrid) -> Raster:
        key = id(node)
        self._uses[key] -= 1
        kept = self._kept.get(key, {})
        raster = kept.get(grid)
        if raster is None:
            raster = node.render(grid, self)
        if self._uses[key] > 0:
            self._kept.setdefault(key, {})[grid] = raster
        else:
            self._kept.pop(key, None)
        return raster

    def wants(self, node: Node, grid: RequestGrid) -> bool:
        """Whether a node will be needed and is not there yet."""
        return self._uses[id(node)] > 0 and grid not in self._kept.get(id(node), {})

    def keep(self, node: Node, grid: RequestGrid, raster: Raster) -> None:
        """Hold what was computed before it is needed."""
        self._kept.setdefault(id(node), {})[grid] = raster


class Constant(Node):
    """The same value everywhere."""

    def __init__(self, value: float, dtype: str) -> None:
        self.value, self.dtype = value, dtype

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:  # noqa: ARG002 - as every band
        return Raster(np.broadcast_to(np.array(self.value, dtype=self.dtype), grid.shape))


class Sampled(Node):
    """A source on its own projection, sampled where it is needed."""

    mode: Mode
    projection: Projection

    @abstractmethod
    def as_mode(self, mode: Mode) -> Sampled:
        """The same source, sampled in another way; always the same object for the same mode."""


class SceneNode(Sampled):
    """A band of a scene of the catalogue."""

    def __init__(self, scene: Scene, band: SceneBand, mode: Mode = "nearest") -> None:
        self.scene, self.band, self.mode = scene, band, mode
        self.projection = Projection(band.crs, band.transform)
        self._modes: dict[Mode, SceneNode] = {mode: self}

    def as_mode(self, mode: Mode) -> SceneNode:
        if mode not in self._modes:
            other = SceneNode(self.scene, self.band, mode)
            other._modes = self._modes
            self._modes[mode] = other
        return self._modes[mode]

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        def read(rows: tuple[int, int], cols: tuple[int, int]) -> Raster:
            values, mask = evaluation.catalogue.read(self.scene, self.band.id, rows, cols)
            return Raster(values, None if mask.all() else mask)

        return sample(evaluation.alignment, grid, self.projection, self.band.shape, read, self.mode)


class Reprojected(Sampled):
    """Another band, computed on a projection's own pixels and sampled from there."""

    def __init__(self, node: Node, projection: Projection, mode: Mode) -> None:
        self.inputs = (node,)
        self.projection, self.mode = projection, mode
        self._modes: dict[Mode, Reprojected] = {mode: self}

    def as_mode(self, mode: Mode) -> Reprojected:
        if mode not in self._modes:
            other = Reprojected(self.inputs[0], self.projection, mode)
            other._modes = self._modes
            self._modes[mode] = other
        return self._modes[mode]

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        def read(rows: tuple[int, int], cols: tuple[int, int]) -> Raster:
            return evaluation.pixels(self.inputs[0], grid_of(self.projection, rows, cols))

        return sample(evaluation.alignment, grid, self.projection, None, read, self.mode)


class Pointwise(Node):
    """A function of the pixels of its inputs; masked where any input is."""

    def __init__(self, function: Callable[..., Values], *inputs: Node) -> None:
        self.function, self.inputs = function, inputs

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        rasters = [evaluation.pixels(node, grid) for node in self.inputs]
        mask: Mask | None = None
        for raster in rasters:
            mask = _both(mask, raster.mask)
        with np.errstate(all="ignore"):
            return Raster(self.function(*(raster.values for raster in rasters)), mask)


class Masked(Node):
    """``updateMask``: valid where the input is, and the mask is valid and not zero."""

    def __init__(self, node: Node, mask: Node) -> None:
        self.inputs = (node, mask)

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        value, mask = (evaluation.pixels(node, grid) for node in self.inputs)
        return Raster(value.values, _both(value.mask, mask.valid & (mask.values > 0)))


class MaskOf(Node):
    """``mask``: 1 where valid, 0 where not; never masked itself."""

    def __init__(self, node: Node) -> None:
        self.inputs = (node,)

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        return Raster(evaluation.pixels(self.inputs[0], grid).valid.astype(np.float32))


class Unmasked(Node):
    """``unmask``: value and mask of another band where the input is masked, within a footprint."""

    def __init__(self, node: Node, value: Node, footprint: BaseGeometry | None, dtype: str) -> None:
        self.inputs = (node, value)
        self.footprint, self.dtype = footprint, dtype

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        under, over = (evaluation.pixels(node, grid) for node in self.inputs)
        values = under.values.astype(self.dtype, copy=False)
        if under.mask is None:
            return Raster(values)
        fill = over.valid
        if self.footprint is not None:
            fill = fill & inside(self.footprint, grid)
        filled = np.where(under.mask, values, over.values).astype(self.dtype, copy=False)
        mask = under.mask | fill
        return Raster(filled, None if mask.all() else mask)


class Clipped(Node):
    """Masked where the centre of a pixel lies outside a shape in degrees."""

    def __init__(self, node: Node, shape: BaseGeometry) -> None:
        self.inputs = (node,)
        self.shape = shape

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        raster = evaluation.pixels(self.inputs[0], grid)
        within = inside(self.shape, grid)
        return Raster(raster.values, raster.mask if within.all() else _both(raster.mask, within))


class Placed(Node):
    """``mask`` with a second image: its mask, whatever the first one's was; 0 where a pixel comes to life."""

    def __init__(self, node: Node, mask: Node) -> None:
        self.inputs = (node, mask)

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        value, mask = (evaluation.pixels(node, grid) for node in self.inputs)
        values = value.values if value.mask is None else np.where(value.mask, value.values, 0)
        return Raster(values.astype(value.values.dtype, copy=False), mask.valid & (mask.values > 0))


class Replaced(Node):
    """``where``: another value where a test is valid and not zero and the value is valid; the mask stays."""

    def __init__(self, node: Node, test: Node, value: Node, dtype: str) -> None:
        self.inputs = (node, test, value)
        self.dtype = dtype

    def render(self, grid: RequestGrid, evaluation: Evaluation) -> Raster:
        under, test, over = (evaluation.pixels(node, grid) for node in self.inputs)
        taken = test.valid & over.valid & (test.values != 0)
        values = np.where(taken, over.values, under.values).astype(self.dtype, copy=False)
        return Raster(values, under.mask)


def inside(shape: BaseGeometry, grid: RequestGrid) -> Mask:
    """Whether the centres of a grid's pixels lie in a shape given in degrees, bool (H, W)."""
    local = Geometry(shape).within(grid.crs)
    shapely.prepare(local)
    # Of most clips the whole grid lies on one side: 260,000 points are asked for where an edge crosses it alone.
    outline = _outline(grid)
    if shapely.contains_properly(local, outline):
        return np.ones(grid.shape, dtype=bool)
    if not shapely.intersects(local, outline):
        return np.zeros(grid.shape, dtype=bool)
    x, y = grid.centres()
    found: Mask = shapely.contains_xy(local, x, y)
    return found


def _outline(grid: RequestGrid) -> BaseGeometry:
    """The ground of a grid, in its CRS."""
    corners = np.array([(0, 0), (grid.width, 0), (grid.width, grid.height), (0, grid.height)], dtype=np.float64)
    return shapely.Polygon(np.column_stack(apply(grid.affine, corners[:, 0], corners[:, 1])))


@dataclass(frozen=True)
class Band:
    """One band of an image.

    Attributes:
        name: its id.
        dtype: numpy name of the type of its pixels.
        projection: default projection; ``COMPOSITE`` where there is none to speak of.
        node: its pixels.
        shape: (height, width) of the native pixels, None where computed.
        limits: (min, max) of integer pixels, where narrower than the type.
    """

    name: str
    dtype: str
    projection: Projection
    node: Node
    shape: tuple[int, int] | None = None
    limits: tuple[int, int] | None = None

    def encoded(self) -> dict[str, Any]:
        encoded: dict[str, Any] = {"id": self.name, "data_type": self._pixel_type()}
        if self.shape is not None:
            encoded["dimensions"] = [self.shape[1], self.shape[0]]
        return encoded | {"crs": self.projection.crs, "crs_transform": encode(list(self.projection.affine))}

    def _pixel_type(self) -> dict[str, Any]:
        if np.dtype(self.dtype).kind == "f":
            return {"type": "PixelType", "precision": "float" if self.dtype == "float32" else "double"}
        low, high = self.limits or (int(np.iinfo(self.dtype).min), int(np.iinfo(self.dtype).max))
        return {"type": "PixelType", "precision": "int", "min": low, "max": high}


@dataclass(frozen=True)
class Image:
    """Bands with common properties.

    Attributes:
        bands: in order.
        properties: with ``system:index`` where it came out of a collection.
        id: asset id, None where computed.
        footprint: outline in degrees, None where it has no bounds.
    """

    bands: tuple[Band, ...]
    properties: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    footprint: BaseGeometry | None = None

    @property
    def names(self) -> list[str]:
        return [band.name for band in self.bands]

    @property
    def geometry(self) -> Geometry | None:
        return None if self.footprint is None else Geometry(self.footprint, geodesic=True)

    def with_properties(self, properties: dict[str, Any]) -> Image:
        return replace(self, properties=properties)

    def with_bands(self, bands: Iterable[Band]) -> Image:
        """Other pixels under the same metadata; no longer the asset itself."""
        return replace(self, bands=tuple(bands), id=None)

    def encoded(self) -> dict[str, Any]:
        encoded: dict[str, Any] = {"type": "Image", "bands": [band.encoded() for band in self.bands]}
        if self.id is not None:
            encoded["id"] = self.id
            encoded["version"] = int(self.properties.get("system:version", 1))
        properties = {key: value for key, value in self.properties.items() if key != "system:version"}
        if self.footprint is not None:
            properties["system:footprint"] = _ring(self.footprint)
        if properties:
            encoded["properties"] = encode(properties)
        return encoded


def _ring(shape: BaseGeometry) -> dict[str, Any]:
    if isinstance(shape, shapely.Polygon):
        return {"type": "LinearRing", "coordinates": [list(point) for point in shape.exterior.coords]}
    return Geometry(shape).encoded()


def scene_image(scene: Scene) -> Image:
    """The image of a scene, as it is loaded: nearest neighbour."""
    bands = (
        Band(band.id, band.dtype, Projection(band.crs, band.transform), SceneNode(scene, band), band.shape)
        for band in scene.bands
    )
    return Image(tuple(bands), dict(scene.properties), scene.id, shapely.Polygon(scene.footprint))


def constant_image(values: list[float], names: list[str]) -> Image:
    """An image without bounds that holds one value per band; whole numbers are integers."""
    bands = []
    for name, value in zip(names, values, strict=True):
        whole = not isinstance(value, float)
        dtype = "int32" if whole and abs(value) < 2**31 else "float64"
        limits = (int(value), int(value)) if dtype == "int32" else None
        bands.append(Band(name, dtype, COMPOSITE, Constant(value, dtype), limits=limits))
    return Image(tuple(bands))
