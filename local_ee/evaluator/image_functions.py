"""Functions of expressions whose input is an image: bands, masks, grids."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import shapely
import shapely.affinity

from ..refusal import Refusal, not_built
from .arithmetic import ARITHMETIC_FUNCTIONS, paired, union_type
from .grid import Projection, grid_of, invert
from .image import (
    Band,
    Clipped,
    Image,
    Masked,
    MaskOf,
    Node,
    Placed,
    Replaced,
    Reprojected,
    Sampled,
    Unmasked,
    constant_image,
)
from .signatures import Argument, convert
from .values import Date, Feature, Geometry, parse_date, type_name

EDGE_PX = 0.01
"""A region that reaches less than this into a pixel does not take it along: that is but rounding."""

MAX_BANDS = 5000
"""Bands that an expression may pile up; Earth Engine's own bound is not published."""


def constant(value: Any) -> Image:
    """A number gives the band ``constant``, a list ``constant_0``.., a dictionary its keys in order."""
    if isinstance(value, Image):
        return value
    if isinstance(value, dict):
        names, numbers = sorted(value), [value[name] for name in sorted(value)]
    elif isinstance(value, list):
        names, numbers = (["constant"] if len(value) == 1 else [f"constant_{i}" for i in range(len(value))]), value
    else:
        names, numbers = ["constant"], [value]
    if not numbers or any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        raise Refusal(f"Image.constant: Parameter 'value' must be a number or numbers, not {type_name(value)}.")
    return constant_image(numbers, names)


def select(image: Image, selectors: list[Any], new_names: list[str] | None) -> Image:
    bands = [band for selector in selectors for band in _matching(image, selector)]
    if new_names is not None:
        if len(new_names) != len(bands):
            raise Refusal(
                f"Image.select: The number of names ({len(new_names)}) must match the number of bands ({len(bands)})."
            )
        bands = [replace(band, name=name) for band, name in zip(bands, new_names, strict=True)]
    _unique("Image.select", [band.name for band in bands])
    return replace(image, bands=tuple(bands))  # still the asset


def _matching(image: Image, selector: Any) -> list[Band]:
    if isinstance(selector, int | float) and not isinstance(selector, bool):
        if not (0 <= selector < len(image.bands) and selector == int(selector)):
            raise Refusal(f"Image.select: Band number {selector} is out of range for {len(image.bands)} bands.")
        return [image.bands[int(selector)]]
    if not isinstance(selector, str):
        raise Refusal(f"Image.select: A band selector must be a name or a number, not {type_name(selector)}.")
    exact = [band for band in image.bands if band.name == selector]
    if exact:
        return exact
    found = [band for band in image.bands if _pattern(selector).fullmatch(band.name)]
    if found:
        return found
    if not image.bands:
        # Wording: https://github.com/swisstopo/topo-satromo/issues/101
        raise Refusal(
            f"Image.select: Band pattern '{selector}' was applied to an Image with no bands. "
            "See https://developers.google.com/earth-engine/guides/debugging#no-bands"
        )
    raise Refusal(
        f"Image.select: Band pattern '{selector}' did not match any bands. Available bands: [{', '.join(image.names)}]"
    )


def _pattern(selector: str) -> re.Pattern[str]:
    """Only ``.``, ``|``, sets and up to four of ``*``, ``+``, ``?``: no pattern that could run for ever."""
    if len(selector) > 200 or re.search(r"[()\\{}]", selector) or len(re.findall(r"[*+?]", selector)) > 4:
        raise Refusal(f"Image.select: Band pattern '{selector[:50]}' is not supported.", code=501)
    try:
        return re.compile(selector)
    except re.error:
        raise Refusal(f"Image.select: Invalid band pattern '{selector}'.") from None


def _unique(function: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise Refusal(f"{function}: Duplicate band name '{twice}'.")


def rename(image: Image, names: list[str]) -> Image:
    if len(names) != len(image.bands):
        raise Refusal(
            f"Image.rename: The number of names ({len(names)}) must match the number of bands ({len(image.bands)})."
        )
    _unique("Image.rename", names)
    return image.with_bands(replace(band, name=name) for band, name in zip(image.bands, names, strict=True))


def add_bands(image: Image, other: Image, names: list[str] | None, overwrite: bool) -> Image:
    bands = {band.name: band for band in image.bands}
    for band in other.bands if names is None else select(other, list(names), None).bands:
        name, number = band.name, 0
        while name in bands and not overwrite:
            number += 1
            name = f"{band.name}_{number}"
        bands[name] = replace(band, name=name)
    if len(bands) > MAX_BANDS:
        raise Refusal(f"Image.addBands: An image of {len(bands)} bands is more than {MAX_BANDS}.")
    return image.with_bands(bands.values())


def cat(images: list[Any]) -> Image:
    converted = [convert("Image.cat", Argument("images", "Image", False, None), image) for image in images]
    if not converted:
        return Image(())
    result: Image = converted[0]
    for image in converted[1:]:
        result = add_bands(result, image, None, False)
    return result


def resample(image: Image, mode: str) -> Image:
    """Sample the input in another way; bands without a projection of their own (composites, constants) stay."""
    if mode == "bicubic":
        raise not_built("Image.resample with mode 'bicubic'")
    if mode != "bilinear":
        raise Refusal(f"Image.resample: Unknown resampling mode '{mode}'.")
    return image.with_bands(_resampled(band) for band in image.bands)


def _resampled(band: Band) -> Band:
    if not band.projection.usable:
        return band
    dtype = band.dtype if np.dtype(band.dtype).kind == "f" else "float64"
    node: Node
    if isinstance(band.node, Sampled) and band.node.projection == band.projection:
        node = band.node.as_mode("bilinear")
    else:
        node = Reprojected(band.node, band.projection, "bilinear")
    return replace(band, node=node, dtype=dtype, limits=None)


def reproject(image: Image, crs: Projection, transform: list[float] | None, scale: float | None) -> Image:
    projection = _projection("Image.reproject", crs, transform, scale)
    return image.with_bands(
        replace(band, node=Reprojected(band.node, projection, "nearest"), projection=projection, shape=None)
        for band in image.bands
    )


def set_default_projection(image: Image, crs: Projection, transform: list[float] | None, scale: float | None) -> Image:
    projection = _projection("Image.setDefaultProjection", crs, transform, scale)
    return image.with_bands(replace(band, projection=projection) for band in image.bands)


def _projection(function: str, crs: Projection, transform: list[float] | None, scale: float | None) -> Projection:
    if transform is not None and scale is not None:
        raise Refusal(f"{function}: At most one of 'crsTransform' and 'scale' may be given.")
    if transform is not None:
        if len(transform) != 6:
            raise Refusal(f"{function}: 'crsTransform' must hold 6 numbers.")
        a, b, c, d, e, f = (float(number) for number in transform)
        return Projection(crs.crs, (a, b, c, d, e, f))
    if scale is None:
        return replace(crs, usable=True)
    if not scale > 0:
        raise Refusal(f"{function}: 'scale' must be above zero.")
    size = scale / Projection(crs.crs, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)).nominal_scale_m
    return Projection(crs.crs, (size, 0.0, 0.0, 0.0, -size, 0.0))


def projection(image: Image) -> Projection:
    if not image.bands:
        raise Refusal("Image.projection: The image has no bands.")
    found = {band.projection for band in image.bands}
    if len(found) > 1:
        names = ", ".join(f"'{band.name}'" for band in image.bands)
        raise Refusal(
            "Image.projection: The bands of the specified image contains different projections. Use Image.select to "
            f"pick a single band. Bands: {names}."
        )
    return found.pop()


def clip(image: Image, geometry: Any) -> Image:
    if isinstance(geometry, Feature | Image):
        geometry = geometry.geometry
    if not isinstance(geometry, Geometry):
        raise Refusal(f"Image.clip: Parameter 'geometry' must be a Geometry or Feature, not {type_name(geometry)}.")
    shape = geometry.lonlat()
    clipped = image.with_bands(replace(band, node=Clipped(band.node, shape), shape=None) for band in image.bands)
    return replace(clipped, footprint=shape if image.footprint is None else image.footprint.intersection(shape))


def update_mask(image: Image, mask: Image) -> Image:
    pairs = paired("Image.updateMask", image, mask)
    return image.with_bands(replace(band, node=Masked(band.node, other.node)) for band, other in pairs)


def mask(image: Image, mask: Image | None) -> Image:
    if mask is None:
        return image.with_bands(
            replace(band, node=MaskOf(band.node), dtype="float32", limits=None) for band in image.bands
        )
    pairs = paired("Image.mask", image, mask)
    return image.with_bands(replace(band, node=Placed(band.node, other.node)) for band, other in pairs)


def where(image: Image, test: Image, value: Image) -> Image:
    """Other values where a test is not zero; names, metadata and mask of the image stay."""
    tests, values = paired("Image.where", image, test), paired("Image.where", image, value)
    bands = []
    for (band, tested), (_, other) in zip(tests, values, strict=True):
        dtype = band.dtype if band.dtype == other.dtype else _filled_type(band, other)
        node = Replaced(band.node, tested.node, other.node, dtype)
        bands.append(replace(band, node=node, dtype=dtype, limits=None))
    return image.with_bands(bands)


def self_mask(image: Image) -> Image:
    return update_mask(image, image)


def unmask(image: Image, value: Image | None, same_footprint: bool) -> Image:
    pairs = paired("Image.unmask", image, constant_image([0], ["constant"]) if value is None else value)
    within = image.footprint if same_footprint else None
    bands = []
    for band, other in pairs:
        dtype = _filled_type(band, other)
        limits = band.limits if dtype == band.dtype and dtype == other.dtype else None
        bands.append(replace(band, node=Unmasked(band.node, other.node, within, dtype), dtype=dtype, limits=limits))
    unmasked = image.with_bands(bands)
    return unmasked if same_footprint else replace(unmasked, footprint=None if value is None else value.footprint)


def _filled_type(band: Band, other: Band) -> str:
    """The narrowest type that holds both; a whole number that fits the band's own type does not widen it."""
    if other.limits is not None and np.dtype(band.dtype).kind in "iu":
        kind = np.iinfo(band.dtype)
        if kind.min <= other.limits[0] and other.limits[1] <= kind.max:
            return band.dtype
    return union_type(band.dtype, other.dtype)


def image_slice(image: Image, start: int, end: int | None) -> Image:
    return image.with_bands(image.bands[start:end])


def geometry(element: Any, *_: Any) -> Geometry | None:
    if not isinstance(element, Image | Feature):
        raise not_built(f"The geometry of a {type_name(element)} as that of a feature")
    if isinstance(element, Image) and element.footprint is None:
        raise not_built("The geometry of an image without bounds")
    found: Geometry | None = element.geometry
    return found


def date(image: Image) -> Date:
    if "system:time_start" not in image.properties:
        raise Refusal("Image.date: The image has no 'system:time_start' property.")
    return parse_date(image.properties["system:time_start"])


def clip_to_bounds_and_scale(
    image: Image,
    geometry: Geometry | None,
    width: int | None,
    height: int | None,
    side: int | None,
    scale: float | None,
) -> Image:
    """The bounds of a geometry in a given number of pixels, or in pixels of a given size in metres."""
    name = "Image.clipToBoundsAndScale"
    outline = geometry if geometry is not None else image.geometry
    if outline is None or not image.bands:
        raise Refusal(f"{name}: The image has no bounds to clip to.")
    same = {band.projection.crs for band in image.bands} == {image.bands[0].projection.crs}
    crs = image.bands[0].projection.crs if same else projection(image).crs  # pixel sizes may differ, CRSs may not
    west, south, east, north = outline.within(crs).bounds
    if not np.isfinite((west, south, east, north)).all():
        raise Refusal(f"{name}: The geometry is empty, or has no place in {crs}.")
    if (width, height, side, scale) == (None, None, None, None):
        return _clip_to_pixels(image, outline)
    unit_m = Projection(crs, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)).nominal_scale_m
    if scale is not None:
        size = (scale / unit_m, scale / unit_m)
    elif side is not None:
        size = (max(east - west, north - south) / side,) * 2
    else:
        x, y = (east - west) / (width or 1), (north - south) / (height or 1)
        size = (x if width else y, y if height else x)
    target = Projection(crs, (size[0], 0.0, west, 0.0, -size[1], north))
    shape = (max(round((north - south) / size[1]), 1), max(round((east - west) / size[0]), 1))
    placed = reproject(clip(image, _boxed(outline, crs)), target, None, None)
    return placed.with_bands(replace(band, shape=shape) for band in placed.bands)


def _clip_to_pixels(image: Image, outline: Geometry) -> Image:
    """The bounds of a geometry in whole pixels of the image's own grid."""
    own = projection(image)
    if not own.usable:
        raise not_built("Image.clipToBoundsAndScale of a composite without width, height, maxDimension or scale")
    a, b, c, d, e, f = invert(own.affine)
    left, top, right, bottom = shapely.affinity.affine_transform(outline.within(own.crs), [a, b, d, e, c, f]).bounds
    first_col, first_row = math.floor(left + EDGE_PX), math.floor(top + EDGE_PX)
    end_col, end_row = math.ceil(right - EDGE_PX), math.ceil(bottom - EDGE_PX)
    rows, cols = (first_row, max(end_row, first_row + 1)), (first_col, max(end_col, first_col + 1))
    grid = grid_of(own, rows, cols)
    clipped = reproject(clip(image, _boxed(outline, own.crs)), Projection(grid.crs, grid.affine), None, None)
    return clipped.with_bands(replace(band, shape=grid.shape) for band in clipped.bands)


def _boxed(outline: Geometry, crs: str) -> Geometry:
    return Geometry(shapely.box(*outline.within(crs).bounds), crs)


IMAGE_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "Image.constant": constant,
    "Image.select": select,
    "Image.rename": rename,
    "Image.slice": image_slice,
    "Image.addBands": add_bands,
    "Image.cat": cat,
    "Image.bandNames": lambda image: image.names,
    "Image.resample": resample,
    "Image.reproject": reproject,
    "Image.setDefaultProjection": set_default_projection,
    "Image.clipToBoundsAndScale": clip_to_bounds_and_scale,
    "Image.projection": projection,
    "Image.geometry": geometry,
    "Feature.geometry": geometry,
    "Image.id": lambda image: image.properties.get("system:index"),
    "Image.date": date,
    "Image.clip": clip,
    "Image.updateMask": update_mask,
    "Image.selfMask": self_mask,
    "Image.mask": mask,
    "Image.unmask": unmask,
    "Image.where": where,
    **ARITHMETIC_FUNCTIONS,
}
"""Built functions whose first argument is an image, by name."""
