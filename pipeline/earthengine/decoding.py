"""Decoding: answers of Earth Engine, checked and converted to the stored values of a shard. Pure."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from ..spec.bands import BANDS, S1_BANDS, S2_BANDS, SHARD_BANDS
from ..spec.recipe import REQUEST_BANDS, S1_FILL

_BAND_TYPES = {band: np.dtype("<f4" if band in S1_BANDS else "<u2") for band in REQUEST_BANDS}
"""What the request casts each band to (``graphs.tile_image``)."""


def npy_array(content: bytes) -> NDArray[Any]:
    """The array of an NPY file, without copying it.

    Returns:
        As stored; read-only.

    Raises:
        ValueError: it is something else, or shorter or longer than it says.
    """
    if not content.startswith(npy_format.MAGIC_PREFIX):
        raise ValueError(f"no NPY array: {len(content)} bytes that begin with {content[:24]!r}")
    file = io.BytesIO(content)
    version = npy_format.read_magic(file)
    read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(file)
    begin, expected = file.tell(), math.prod(shape) * dtype.itemsize
    if dtype.hasobject or fortran_order:
        raise ValueError(f"an NPY array of {dtype}, Fortran order {fortran_order}: not pixels")
    if len(content) - begin != expected:
        raise ValueError(f"{len(content) - begin} bytes of pixels instead of {expected}")
    return np.frombuffer(content, dtype=dtype, offset=begin).reshape(shape)


def stored_values(
    answer: NDArray[Any], shape: tuple[int, int], bands: tuple[str, ...] = REQUEST_BANDS
) -> NDArray[np.uint16]:
    """The stored bands of a shard out of an answer of the service.

    Args:
        answer: structured (H, W) with the fields of ``recipe.REQUEST_BANDS``; Sentinel-2 uint16 DN + 1 (0 = masked),
            VV and VH float32 dB (``S1_FILL`` = no observation), S1_N uint16.
        shape: (H, W) of the request.
        bands: of the request: all, ``S2_BANDS`` or those of Sentinel-1.

    Returns:
        uint16 (bands, H, W) in the order of ``SHARD_BANDS``, 0 = no data; a valid DN of 0 becomes 1. Bands that were
        not requested are 0.

    Raises:
        ValueError: names, types or shape do not match the request.
    """
    if answer.dtype.names != bands:
        raise ValueError(f"bands {answer.dtype.names} instead of {bands}")
    if answer.shape != shape:
        raise ValueError(f"{answer.shape} pixels instead of {shape}")
    unknown = [f"{b} is {answer.dtype[b]}" for b in bands if answer.dtype[b] != _BAND_TYPES[b]]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}; expected uint16, and float32 for {', '.join(S1_BANDS)}")
    height, width = shape
    stored = np.zeros((len(SHARD_BANDS), height, width), dtype=np.uint16)
    if bands[0] == S2_BANDS[0]:
        _store_dn(answer, stored[: len(S2_BANDS)])
    if bands[-1] == "S1_N":
        count = stored[SHARD_BANDS.index("S1_N")]
        count[...] = answer["S1_N"]
        for band in S1_BANDS:
            stored[SHARD_BANDS.index(band)] = _stored_decibel(answer[band], count, band)
    return stored


def _store_dn(answer: NDArray[Any], stored: NDArray[np.uint16]) -> None:
    """Sentinel-2 of an answer into uint16 (bands, H, W)."""
    # All fields are words of two bytes: turned as one table, block by block, they are copied once.
    height, width = answer.shape
    words = np.ascontiguousarray(answer).view("<u2").reshape(height * width, -1)
    s2 = stored.reshape(len(S2_BANDS), -1)
    for begin in range(0, height * width, _BLOCK_PX):
        s2[:, begin : begin + _BLOCK_PX] = words[begin : begin + _BLOCK_PX, : len(S2_BANDS)].T
    # DN + 1 comes; 0 is masked and stays, DN 0 (sent as 1) is stored as 1.
    s2 -= s2 > 1


_BLOCK_PX = 8192


def _stored_decibel(decibel: NDArray[np.float32], count: NDArray[np.uint16], band: str) -> NDArray[np.uint16]:
    """Stored values of a Sentinel-1 band; 0 where nothing was observed.

    Raises:
        ValueError: a pixel was observed and its value is no number: a fault of the service, not of the place.
    """
    broken = int(np.count_nonzero((count > 0) & ~np.isfinite(decibel)))
    if broken:
        raise ValueError(f"{broken} pixels of {band} have observations and a value that is no finite number")
    seen = (count > 0) & (decibel > np.float32(S1_FILL + 1))
    return BANDS[band].stored(np.where(seen, decibel, np.float32(np.nan)))


_NUMBER = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)\s")


def eecu_seconds(table: str) -> float | None:
    """Compute seconds of a profile: the sum of its first column.

    Args:
        table: text of ``Profile.getProfiles``, a line per operation under the heading ``EECU·s PeakMem Count
            Description`` (seen in the client's ``ee.profilePrinting``).

    Returns:
        Seconds, or None where the text is no such table.
    """
    lines = [line for line in table.splitlines() if line.strip()]
    if not lines or not lines[0].split()[0].casefold().startswith("eecu"):
        return None
    numbers = [match for line in lines[1:] if (match := _NUMBER.match(line)) is not None]
    return sum(float(match[1]) for match in numbers) if numbers else None
