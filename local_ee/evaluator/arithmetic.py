"""Arithmetic on images: functions of single pixels, of two images, and casts; and the type of what comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..refusal import Refusal, not_built
from .image import Band, Image, Masked, Node, Pointwise
from .warp import Values

CASTS: dict[str, str] = {
    "Image.toByte": "uint8",
    "Image.byte": "uint8",
    "Image.toUint8": "uint8",
    "Image.uint8": "uint8",
    "Image.toInt8": "int8",
    "Image.int8": "int8",
    "Image.toUint16": "uint16",
    "Image.uint16": "uint16",
    "Image.toInt16": "int16",
    "Image.int16": "int16",
    "Image.toUint32": "uint32",
    "Image.uint32": "uint32",
    "Image.toInt32": "int32",
    "Image.int32": "int32",
    "Image.toInt": "int32",
    "Image.int": "int32",
    "Image.toFloat": "float32",
    "Image.float": "float32",
    "Image.toDouble": "float64",
    "Image.double": "float64",
}


def union_type(first: str, second: str) -> str:
    """The union of two types: double over float over integers of 32 bits, or of 64 where 32 do not hold both."""
    kinds = (first, second)
    for wide in ("float64", "float32", "int64"):
        if wide in kinds:
            return wide
    return "int64" if "uint32" in kinds else "int32"


def paired(function: str, first: Image, second: Image) -> list[tuple[Band, Band]]:
    """Bands of two images side by side: one band goes with all; the same names by name, else in order."""
    if not first.bands or not second.bands:
        if not first.bands and not second.bands:
            return []
        # Wording: https://github.com/r-spatial/rgee/issues/167
        raise Refusal(
            f"{function}: If one image has no bands, the other must also have no bands. "
            f"Got {len(first.bands)} and {len(second.bands)}."
        )
    if len(second.bands) == 1:
        return [(band, second.bands[0]) for band in first.bands]
    if len(first.bands) == 1 and function in ARITHMETIC:
        return [(replace(first.bands[0], name=band.name), band) for band in second.bands]
    if len(first.bands) != len(second.bands):
        raise Refusal(
            f"{function}: Images must contain the same number of bands or one must have a single band. "
            f"Got {len(first.bands)} and {len(second.bands)}."
        )
    if set(first.names) == set(second.names):
        others = {band.name: band for band in second.bands}
        return [(band, others[band.name]) for band in first.bands]
    return list(zip(first.bands, second.bands, strict=True))


def cast(dtype: str) -> Callable[[Image], Image]:
    """A function that casts all bands: to integers by cutting off the fraction and staying within the range."""

    def convert_values(values: Values) -> Values:
        return cast_values(values, dtype)

    def function(image: Image) -> Image:
        return image.with_bands(
            replace(band, dtype=dtype, node=Pointwise(convert_values, band.node), limits=_kept_limits(band, dtype))
            for band in image.bands
        )

    return function


def _kept_limits(band: Band, dtype: str) -> tuple[int, int] | None:
    if band.limits is None or np.dtype(dtype).kind == "f":
        return None
    kind = np.iinfo(dtype)
    return max(band.limits[0], int(kind.min)), min(band.limits[1], int(kind.max))


def cast_values(values: Values, dtype: str) -> Values:
    target = np.dtype(dtype)
    if values.dtype == target:
        return values
    if target.kind == "f" or values.dtype.kind == "b":
        return values.astype(target)
    limits = np.iinfo(target)
    if values.dtype.kind == "f":
        low, high = np.array(limits.min, values.dtype), np.array(limits.max, values.dtype)
        if float(high) > limits.max:  # float32 has no 2**31 - 1
            high = np.nextafter(high, values.dtype.type(0))
        clipped = np.clip(values, low, high)
        values = np.nan_to_num(clipped, copy=False, nan=0.0)
        return _as(values, target)  # cuts off the fraction
    source: Any = np.iinfo(values.dtype)
    if source.min < limits.min or source.max > limits.max:
        values = np.clip(values.astype(np.int64, copy=False), limits.min, limits.max)
    return _as(values, target)


def _as(values: Values, dtype: np.dtype[Any]) -> Values:
    return values.astype(dtype)


def unary(function: Callable[[Values], Values], dtype: str | None = None) -> Callable[[Image], Image]:
    """A function of each pixel; ``dtype`` None keeps the type of the band."""

    def apply(image: Image) -> Image:
        return image.with_bands(
            replace(band, node=Pointwise(function, band.node), dtype=dtype or band.dtype, limits=None)
            for band in image.bands
        )

    return apply


def _log10(values: Values) -> Values:
    return np.log10(values.astype(np.float64))


def log10(image: Image) -> Image:
    """Base-10 logarithm, double; values at or below zero are masked."""
    return image.with_bands(
        replace(
            band,
            node=Masked(Pointwise(_log10, band.node), Pointwise(lambda values: np.asarray(values > 0), band.node)),
            dtype="float64",
            limits=None,
        )
        for band in image.bands
    )


def _divide(first: Values, second: Values) -> Values:
    first, second = np.broadcast_arrays(first, second)
    zero = second == 0
    return np.where(zero, 0, first / np.where(zero, 1, second))


def _wide(function: Callable[[Any, Any], Any]) -> Callable[[Values, Values], Values]:
    """The function in a type that does not overflow: 64-bit integers or doubles."""

    def widened(first: Values, second: Values) -> Values:
        kind = np.float64 if "f" in (first.dtype.kind, second.dtype.kind) else np.int64
        result: Values = function(first.astype(kind), second.astype(kind))
        return result

    return widened


ARITHMETIC: dict[str, tuple[Callable[[Values, Values], Values], str | None]] = {
    "Image.add": (_wide(np.add), None),
    "Image.subtract": (_wide(np.subtract), None),
    "Image.multiply": (_wide(np.multiply), None),
    "Image.divide": (_divide, "float64"),
    "Image.gt": (np.greater, "uint8"),
    "Image.gte": (np.greater_equal, "uint8"),
    "Image.lt": (np.less, "uint8"),
    "Image.lte": (np.less_equal, "uint8"),
    "Image.eq": (np.equal, "uint8"),
    "Image.neq": (np.not_equal, "uint8"),
    "Image.and": (np.logical_and, "uint8"),
    "Image.or": (np.logical_or, "uint8"),
    "Image.bitwiseAnd": (_wide(np.bitwise_and), None),
}
"""Functions of two images, and the type of the result: None = the union of both, cut to its range."""


def binary(name: str) -> Callable[[Image, Image], Image]:
    function, wanted = ARITHMETIC[name]

    def apply(first: Image, second: Image) -> Image:
        bands = []
        for band, other in paired(name, first, second):
            dtype = wanted or union_type(band.dtype, other.dtype)
            if name == "Image.divide" and union_type(band.dtype, other.dtype) == "float32":
                dtype = "float32"
            if name == "Image.bitwiseAnd" and np.dtype(dtype).kind == "f":
                raise Refusal(f"{name}: Bitwise operands must be integers, not {band.dtype} and {other.dtype}.")
            node = Pointwise(_then_cast(function, dtype), band.node, other.node)
            limits = (0, 1) if dtype == "uint8" else None
            bands.append(replace(band, node=node, dtype=dtype, limits=limits))
        return first.with_bands(bands)

    return apply


def truth(image: Image) -> Image:
    """1 where a pixel is zero, 0 where it is anything else."""
    return image.with_bands(
        replace(band, node=Pointwise(_is_zero, band.node), dtype="uint8", limits=(0, 1)) for band in image.bands
    )


def _is_zero(values: Values) -> Values:
    return np.asarray(values == 0, dtype=np.uint8)


def normalized_difference(image: Image, names: list[str] | None) -> Image:
    """(first - second) / (first + second) as the band ``nd``, float; masked where either is below zero."""
    name = "Image.normalizedDifference"
    chosen = image.names[:2] if names is None else names
    missing = [band for band in chosen if band not in image.names]
    if missing:
        raise Refusal(f"{name}: There is no band '{missing[0]}'. Available bands: [{', '.join(image.names)}].")
    if len(chosen) != 2:
        raise Refusal(f"{name}: Two bands are needed, not {len(chosen)}.")
    first, second = (image.bands[image.names.index(band)] for band in chosen)
    ratio = Pointwise(_ratio, first.node, second.node)
    positive = Pointwise(lambda low, high: np.asarray((low >= 0) & (high >= 0)), first.node, second.node)
    band = replace(first, name="nd", dtype="float32", node=Masked(ratio, positive), shape=None, limits=None)
    return Image((band,), footprint=image.footprint)


def _ratio(first: Values, second: Values) -> Values:
    low, high = first.astype(np.float64), second.astype(np.float64)
    return _divide(low - high, low + high).astype(np.float32)


def remap(image: Image, before: list[Any], after: list[Any], default: Any, band_name: str | None) -> Image:
    """One band with other values, as ``remapped``; what is not listed gets the default, or is masked."""
    name = "Image.remap"
    numbers = [*before, *after, *([] if default is None else [default])]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
        raise not_built(f"{name} of anything but lists of numbers")
    if len(before) != len(after) or len(set(before)) != len(before) or not before:
        raise Refusal(f"{name}: 'from' and 'to' must be lists of the same length, without repetitions in 'from'.")
    if not image.bands or (band_name is not None and band_name not in image.names):
        raise Refusal(f"{name}: There is no band '{band_name}'. Available bands: [{', '.join(image.names)}].")
    band = image.bands[0 if band_name is None else image.names.index(band_name)]
    whole = all(isinstance(number, int) and abs(number) < 2**31 for number in numbers[len(before) :])
    dtype = "int32" if whole else "float64"
    order = np.argsort(np.array(before, dtype=np.float64))
    keys = np.array(before, dtype=np.float64)[order]
    table = np.append(np.array(after, dtype=np.float64)[order], 0.0 if default is None else float(default))

    def positions(values: Values) -> Any:
        at = np.searchsorted(keys, values).clip(0, len(keys) - 1)
        return np.where(keys[at] == values, at, len(keys))

    node: Node = Pointwise(lambda values: table[positions(values)].astype(dtype), band.node)
    if default is None:
        node = Masked(node, Pointwise(lambda values: np.asarray(positions(values) < len(keys)), band.node))
    return image.with_bands([replace(band, name="remapped", dtype=dtype, node=node, limits=None)])


def _then_cast(function: Callable[..., Values], dtype: str) -> Callable[..., Values]:
    return lambda *values: cast_values(np.asarray(function(*values)), dtype)


ARITHMETIC_FUNCTIONS: dict[str, Callable[..., Image]] = {
    "Image.round": unary(lambda values: np.floor(values + 0.5) if values.dtype.kind == "f" else values),
    "Image.floor": unary(lambda values: np.floor(values) if values.dtype.kind == "f" else values),
    "Image.ceil": unary(lambda values: np.ceil(values) if values.dtype.kind == "f" else values),
    "Image.abs": unary(lambda values: np.abs(values)),
    "Image.log10": log10,
    "Image.not": truth,
    "Image.normalizedDifference": normalized_difference,
    "Image.remap": remap,
    **{name: cast(dtype) for name, dtype in CASTS.items()},
    **{name: binary(name) for name in ARITHMETIC},
}
"""Built functions of this file, by name."""
