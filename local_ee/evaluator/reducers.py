"""Reducers of pixels: over the bands of an image, over the pixels of a region, and pixels as features.

Which pixels of a region count: for a weighted reducer those that lie in it by more than ``LEAST_FRACTION``, by that
fraction; for an unweighted one those whose centre lies in it, each once. Masked pixels never count. Source:
https://developers.google.com/earth-engine/guides/reducers_reduce_region#pixels-in-the-region
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from ..refusal import Refusal, not_built
from ..scene import SceneSource
from .arithmetic import cast_values
from .collection import Collection, Listed
from .composites import CountOf, Extreme, MeanOf, Stack, SumOf
from .grid import Floats, Projection, RequestGrid, apply, grid_of, invert
from .image import Band, Evaluation, Image, Node
from .sphere import drawn
from .values import WGS84, Feature, Geometry
from .warp import Mask

LEAST_FRACTION = 1 / 256
"""Earth Engine holds fractions in 8 bits, so that a smaller one is nothing.
Source: https://developers.google.com/earth-engine/guides/reducers_weighting"""

MAX_VALUES = 16_000_000
"""Pixels of all bands that one reduction may hold."""

MAX_EDGE_PX = 50_000
"""Pixels that the edge of a region may cross: the fractions of as many take some seconds."""

MAX_SAMPLES = 5_000
"""Features of one sample. Source: Earth Engine's limit on elements of a collection that are shown."""

FAR_PX = 2.0**40
"""Pixels from the corner of a projection beyond which there is no image."""

Statistic = Callable[[Floats, Floats], float | None]
"""A number of values and their weights (1-D, all above zero); None where there are none."""


@dataclass(frozen=True)
class Reducer:
    """A reducer with one input.

    Attributes:
        outputs: what it computes, by name.
        weighted: whether pixels count by their weight.
    """

    outputs: tuple[str, ...]
    weighted: bool


def _mean(values: Floats, weights: Floats) -> float | None:
    return float((values * weights).sum() / weights.sum()) if values.size else None


STATISTICS: dict[str, Statistic] = {
    "mean": _mean,
    "sum": lambda values, weights: float((values * weights).sum()),
    "count": lambda values, _: float(values.size),
    "min": lambda values, _: float(values.min()) if values.size else None,
    "max": lambda values, _: float(values.max()) if values.size else None,
}


def _extreme(name: str) -> Callable[[int], Reducer]:
    def reducer(inputs: int) -> Reducer:
        if inputs != 1:
            raise not_built(f"Reducer.{name} of {inputs} inputs")
        return Reducer((name,), weighted=False)

    return reducer


def _unweighted(reducer: Any) -> Reducer:
    return replace(_of_pixels("Reducer.unweighted", reducer), weighted=False)


def _of_pixels(name: str, reducer: Any) -> Reducer:
    if not isinstance(reducer, Reducer):
        raise not_built(f"{name} with Reducer.toList")
    return reducer


REDUCERS: dict[str, Callable[..., Reducer]] = {
    "Reducer.mean": lambda: Reducer(("mean",), weighted=True),
    "Reducer.sum": lambda: Reducer(("sum",), weighted=True),
    "Reducer.count": lambda: Reducer(("count",), weighted=False),
    "Reducer.min": _extreme("min"),
    "Reducer.max": _extreme("max"),
    "Reducer.minMax": lambda: Reducer(("min", "max"), weighted=False),
    "Reducer.unweighted": _unweighted,
}
"""Built reducers of pixels, by name."""


# --- over bands -------------------------------------------------------------------------------------------------------


def reduce_bands(image: Image, reducer: Any) -> Image:
    """One band for each output, of all bands of a pixel that are not masked."""
    reducer = _of_pixels("Image.reduce", reducer)
    if not image.bands:
        raise Refusal("Image.reduce: The image has no bands.")
    nodes = [band.node for band in image.bands]
    stack = Stack(*nodes)
    dtypes = {band.dtype for band in image.bands}
    common = dtypes.pop() if len(dtypes) == 1 else "float64"
    made: dict[str, tuple[Node, str]] = {}
    for name in reducer.outputs:
        if name in ("min", "max"):
            better = np.less if name == "min" else np.greater
            made[name] = (Extreme(better, common, *nodes), common)
        else:
            kind, dtype = {"mean": (MeanOf, "float64"), "sum": (SumOf, "float64"), "count": (CountOf, "int32")}[name]
            made[name] = (kind(stack), dtype)
    first = image.bands[0]
    bands = [Band(name, dtype, first.projection, node, first.shape) for name, (node, dtype) in made.items()]
    return image.with_bands(bands)


# --- over regions -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Region:
    """A region in the pixels of a projection.

    Attributes:
        shape: in pixels (x = columns, y = rows), the corner of ``grid`` at (0, 0).
        grid: the pixels that it may touch.
    """

    shape: BaseGeometry
    grid: RequestGrid

    def centres(self) -> Mask:
        """bool (H, W): pixels whose centre lies in the region."""
        found, (rows, cols) = self._settled()
        found[rows, cols] = shapely.contains_xy(self.shape, cols + 0.5, rows + 0.5)
        return found

    def fractions(self) -> Floats:
        """float64 (H, W), 0..1: how much of each pixel lies in the region."""
        settled, (rows, cols) = self._settled()
        found = settled.astype(np.float64)
        pixels = shapely.box(cols, rows, cols + 1, rows + 1)
        found[rows, cols] = shapely.area(shapely.intersection(self.shape, pixels))
        return found

    def _settled(self) -> tuple[Mask, tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Pixels that lie in the region as a whole, bool (H, W), and (rows, cols) of those that its edge crosses.

        Squares that lie inside or outside as a whole are settled; the others are cut into four, down to one pixel.
        """
        shapely.prepare(self.shape)
        found = np.zeros(self.grid.shape, dtype=bool)
        side = 2 ** math.ceil(math.log2(max(self.grid.shape)))
        corners = np.zeros((1, 2), dtype=np.intp)
        while True:
            boxes = shapely.box(corners[:, 1], corners[:, 0], corners[:, 1] + side, corners[:, 0] + side)
            whole = shapely.covers(self.shape, boxes)
            for row, col in corners[whole].tolist():
                found[row : row + side, col : col + side] = True
            cut = corners[~whole & shapely.intersects(self.shape, boxes)]
            if len(cut) > MAX_EDGE_PX:
                raise Refusal("User memory limit exceeded.")
            if side == 1:
                rows, cols = cut[(cut < self.grid.shape).all(axis=1)].T
                return found, (rows, cols)
            side //= 2
            steps = np.array([(0, 0), (0, side), (side, 0), (side, side)])
            corners = (cut[:, None] + steps).reshape(-1, 2)


REGION_FUNCTIONS = ("Image.reduceRegion", "Image.sampleRegions", "Image.sample")
"""Names of ``region_functions``."""


def region_functions(catalogue: SceneSource) -> dict[str, Callable[..., Any]]:
    """Built functions that read the pixels of a region."""

    def reduce_region(
        image: Image,
        reducer: Any,
        geometry: Geometry | None,
        scale: float | None,
        crs: Projection | None,
        transform: list[float] | None,
        best_effort: bool,  # a region that fits is reduced at its own scale
        max_pixels: int,
        tile_scale: float,
    ) -> dict[str, Any]:
        name = "Image.reduceRegion"
        reducer = _of_pixels(name, reducer)
        _check_tile_scale(name, tile_scale)
        projection = _projection(name, image, crs, scale, transform)
        region = _region(name, _outline(name, image, geometry), projection, len(image.bands))
        weights = region.fractions() if reducer.weighted else region.centres().astype(np.float64)
        counted = weights >= LEAST_FRACTION
        number = int(counted.sum())
        if number > max_pixels:
            if best_effort:
                raise not_built(f"{name} at a larger scale ('bestEffort')")
            raise Refusal(
                f"{name}: Too many pixels in the region. Found {number}, but maxPixels allows only {max_pixels}."
            )
        rasters = _pixels(catalogue, image, region.grid)
        result: dict[str, Any] = {}
        for band in image.bands:
            values, mask = rasters[band.name]
            taken = counted & mask
            chosen, weight = values[taken].astype(np.float64), weights[taken]
            for output in reducer.outputs:
                key = band.name if len(reducer.outputs) == 1 else f"{band.name}_{output}"
                result[key] = STATISTICS[output](chosen, weight)
        return result

    def sample_regions(
        image: Image,
        collection: Collection,
        properties: list[str] | None,
        scale: float | None,
        projection: Projection | None,
        tile_scale: float,
        geometries: bool,
    ) -> Collection:
        name = "Image.sampleRegions"
        _check_tile_scale(name, tile_scale)
        points = [_point_of(name, element) for element in collection.elements]
        if len(points) > MAX_SAMPLES:
            raise not_built(f"{name} of more than {MAX_SAMPLES} points")
        target = _projection(name, image, projection, scale, None)
        found = []
        for number, (feature, point) in enumerate(points):
            row, col = _pixel_at(name, target, point)
            grid = grid_of(target, (row, row + 1), (col, col + 1))
            rasters = _pixels(catalogue, image, grid)
            kept = _kept_properties(feature, properties)
            index = f"{feature.properties.get('system:index', number)}_0"
            made = _feature(rasters, (0, 0), grid, kept, index, geometries=geometries)
            found += [] if made is None else [made]
        return Listed(found, features=True)

    def sample(
        image: Image,
        region: Geometry | None,
        scale: float | None,
        projection: Projection | None,
        factor: float | None,
        pixels: int | None,
        seed: int,  # noqa: ARG001  (of a choice that is not built)
        drop_nulls: bool,
        tile_scale: float,
        geometries: bool,
    ) -> Collection:
        name = "Image.sample"
        _check_tile_scale(name, tile_scale)
        if factor is not None and pixels is not None:
            raise Refusal(f"{name}: At most one of 'factor' and 'numPixels' may be specified.")
        if factor is not None or pixels is not None or not drop_nulls:
            raise not_built(f"{name} with 'factor', 'numPixels' or without 'dropNulls'")
        target = _projection(name, image, projection, scale, None)
        place = _region(name, _outline(name, image, region), target, len(image.bands))
        centres = np.argwhere(place.centres())
        if len(centres) > MAX_SAMPLES:
            raise not_built(f"{name} of more than {MAX_SAMPLES} pixels")
        rasters = _pixels(catalogue, image, place.grid)
        made = (
            _feature(rasters, (row, col), place.grid, {}, str(number), geometries=geometries)
            for number, (row, col) in enumerate(centres.tolist())
        )
        return Listed([feature for feature in made if feature is not None], features=True)

    return dict(zip(REGION_FUNCTIONS, (reduce_region, sample_regions, sample), strict=True))


def _check_tile_scale(name: str, tile_scale: float) -> None:
    if not 0.1 <= tile_scale <= 16:
        raise Refusal(f"{name}: Parameter 'tileScale' must be between 0.1 and 16, not {tile_scale}.")


def _outline(name: str, image: Image, geometry: Geometry | None) -> Geometry:
    outline = geometry if geometry is not None else image.geometry
    if outline is None:
        raise Refusal(f"{name}: Provide 'geometry' parameter when aggregating over an unbounded image.")
    return outline


def _projection(
    name: str, image: Image, crs: Projection | None, scale: float | None, transform: list[float] | None
) -> Projection:
    """The pixels to work in: those of the first band, unless another CRS, transform or size is named."""
    if not image.bands:
        raise Refusal(f"{name}: The image has no bands.")
    base = crs if crs is not None else image.bands[0].projection
    if transform is not None:
        if scale is not None:
            raise Refusal(f"{name}: At most one of 'crsTransform' and 'scale' may be given.")
        if len(transform) != 6 or not np.isfinite(transform).all():
            raise Refusal(f"{name}: 'crsTransform' must hold 6 finite numbers.")
        a, b, c, d, e, f = (float(number) for number in transform)
        return Projection(base.crs, (a, b, c, d, e, f))
    if scale is None:
        return base
    if not (math.isfinite(scale) and scale > 0):
        raise Refusal(f"{name}: 'scale' must be above zero.")
    a, b, c, d, e, f = base.affine
    times = scale / base.nominal_scale_m
    return Projection(base.crs, (a * times, b * times, c, d * times, e * times, f))


def _region(name: str, outline: Geometry, projection: Projection, bands: int) -> Region:
    a, b, c, d, e, f = invert(projection.affine)
    shape = shapely.affinity.affine_transform(drawn(outline, projection.crs), [a, b, d, e, c, f])
    if isinstance(shape, shapely.Point) and not shape.is_empty:
        row, col = _pixel_of(name, shape.x, shape.y)
        return Region(shapely.box(0, 0, 1, 1), grid_of(projection, (row, row + 1), (col, col + 1)))
    if shape.area == 0:
        raise not_built(f"{name} over what has no area and is no point")
    west, north, east, south = shape.bounds
    if not shape.is_valid:  # edges that all but touch may cross in another CRS
        shape = shapely.make_valid(shape)
    (top, left), (bottom, right) = _pixel_of(name, west, north), _pixel_of(name, east, south)
    rows, cols = (top, bottom + 1), (left, right + 1)
    if (cols[1] - cols[0]) * (rows[1] - rows[0]) * bands > MAX_VALUES:
        raise Refusal("User memory limit exceeded.")
    moved = shapely.affinity.translate(shape, -cols[0], -rows[0])
    return Region(moved, grid_of(projection, rows, cols))


def _pixels(catalogue: SceneSource, image: Image, grid: RequestGrid) -> dict[str, tuple[NDArray[Any], Mask]]:
    """Values and mask of each band on a grid."""
    evaluation = Evaluation(catalogue)
    evaluation.expect(band.node for band in image.bands)
    found = {}
    for band in image.bands:
        raster = evaluation.pixels(band.node, grid)
        found[band.name] = (cast_values(raster.values, band.dtype), raster.valid)
    return found


# --- features ---------------------------------------------------------------------------------------------------------


def _point_of(name: str, element: Any) -> tuple[Feature, shapely.Point]:
    shape = element.geometry.lonlat() if isinstance(element, Feature) and element.geometry is not None else None
    if not isinstance(shape, shapely.Point):
        raise not_built(f"{name} of regions other than points")
    return element, shape


def _pixel_at(name: str, projection: Projection, point: shapely.Point) -> tuple[int, int]:
    """(row, col) of the pixel that a point in degrees lies in."""
    placed = Geometry(point).within(projection.crs)
    col, row = apply(invert(projection.affine), np.array(placed.x), np.array(placed.y))
    return _pixel_of(name, float(col), float(row))


def _pixel_of(name: str, col: float, row: float) -> tuple[int, int]:
    """(row, col) of the pixel that a position lies in."""
    if not (abs(col) < FAR_PX and abs(row) < FAR_PX):  # nor where it is not a number
        raise Refusal(f"{name}: The region has no place in the projection.")
    return math.floor(row), math.floor(col)


def _kept_properties(feature: Feature, names: list[str] | None) -> Mapping[str, Any]:
    if names is None:
        return {name: value for name, value in feature.properties.items() if not name.startswith("system:")}
    return {name: feature.properties[name] for name in names if name in feature.properties}


def _feature(
    rasters: dict[str, tuple[NDArray[Any], Mask]],
    at: tuple[int, int],
    grid: RequestGrid,
    properties: Mapping[str, Any],
    index: str,
    *,
    geometries: bool,
) -> Feature | None:
    """A pixel as a feature; None where a band is masked."""
    if not all(mask[at] for _, mask in rasters.values()):
        return None
    values = {name: pixels[at].item() for name, (pixels, _) in rasters.items()}
    centre = None
    if geometries:
        x, y = apply(grid.affine, np.array(at[1] + 0.5), np.array(at[0] + 0.5))
        centre = Geometry(Geometry(shapely.Point(float(x), float(y)), grid.crs).within(WGS84))
    return Feature(centre, {**properties, **values, "system:index": index})
