"""One file of a sharded Zarr v3 array: compressed chunks one after another, with their positions at the end.

Any Zarr library reads such a file (codec ``sharding_indexed`` with the index at the end); read here, a chunk costs its
decompression and little else, while the ``zarr`` library adds about 9 ms a chunk. Layout:

    note      one line of JSON that no index entry points to: for which tiles, and in which state, the file was written
    chunks    Blosc (LZ4, bit shuffle), then the CRC-32C of those bytes
    index     little-endian uint64 (chunks, 2): offset and length of each chunk, all ones where there is none
    checksum  CRC-32C of the index

Source: zarr-specs, v3 codecs ``sharding_indexed``, ``blosc`` and ``crc32c``. The packages come with the extra
``store``.
"""

from __future__ import annotations

import importlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import DataError, UsageError, in_brief
from ..files.atomic import parse_json

BLOSC_LEVEL = 5
"""Levels 1 to 9 differ by less than 2 % in size and in decoding time on shards; 5 is the libraries' default."""

_CHECKSUM_BYTES = 4
_NOWHERE = np.iinfo(np.uint64).max


def need(package: str) -> Any:
    """A module of the extra ``store``.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise UsageError(
            f"the training store needs the package {package.split('.')[0]}; run: pip install 'dwplus[store]'"
        ) from error


# --- one chunk --------------------------------------------------------------------------------------------------------


def encode_chunk(values: NDArray[Any]) -> bytes:
    """Values as they are in the file: Blosc (LZ4, bit shuffle), then the CRC-32C of those bytes."""
    blosc = need("numcodecs.blosc")
    content: bytes = blosc.compress(np.ascontiguousarray(values), b"lz4", BLOSC_LEVEL, blosc.BITSHUFFLE)
    return content + _checksum(content)


def decode_chunk(content: NDArray[np.uint8], dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Values of one chunk.

    Args:
        content: uint8 (bytes,), what ``encode_chunk`` gave.

    Raises:
        DataError: the bytes are not those that were written; says what is wrong with them.
    """
    body, checksum = content[:-_CHECKSUM_BYTES], content[-_CHECKSUM_BYTES:]
    if _checksum(body) != checksum.tobytes():
        raise DataError("its checksum differs")
    values = np.empty(shape, dtype)
    # Blosc writes as much as the chunk says that it holds, whatever room there is.
    held = int.from_bytes(body[4:8].tobytes(), "little")
    if held != values.nbytes:
        raise DataError(f"it holds {held} bytes instead of {values.nbytes}")
    try:
        need("numcodecs.blosc").decompress(body, values)
    except (RuntimeError, ValueError) as error:
        raise DataError(f"it cannot be decompressed: {in_brief(error)}") from None
    return values


def _checksum(content: bytes | NDArray[np.uint8]) -> bytes:
    value: int = need("google_crc32c").value(content)
    return value.to_bytes(_CHECKSUM_BYTES, "little")


# --- one file ---------------------------------------------------------------------------------------------------------


def join_chunks(chunks: Sequence[bytes], count: int, note: Mapping[str, Any]) -> bytes:
    """Content of a file with room for ``count`` chunks, of which the first are there.

    Args:
        note: for which tiles the file is written; given back by ``read_contents``.
    """
    head = json.dumps(note, separators=(",", ":")).encode() + b"\n"
    index = np.full((count, 2), _NOWHERE, dtype="<u8")
    lengths = np.array([len(chunk) for chunk in chunks], dtype=np.uint64)
    index[: len(chunks), 1] = lengths
    index[: len(chunks), 0] = len(head) + np.cumsum(lengths) - lengths
    table = index.tobytes()
    return b"".join([head, *chunks, table, _checksum(table)])


@dataclass(frozen=True)
class Contents:
    """What a file says it holds.

    Attributes:
        note: as it was given to ``join_chunks``.
        spans: uint64 (chunks, 2), offset and length of each chunk.
    """

    note: Mapping[str, Any]
    spans: NDArray[np.uint64]


def read_contents(path: Path, count: int) -> Contents:
    """Note and index of a file with room for ``count`` chunks.

    Raises:
        DataError: the file is missing, cut off, or not of this kind.
    """
    tail = 16 * count + _CHECKSUM_BYTES
    try:
        with path.open("rb") as file:
            note = parse_json(file.readline(1 << 20), where=str(path))
            end = file.seek(0, os.SEEK_END) - tail
            file.seek(max(0, end))
            table = file.read()
    except FileNotFoundError:
        raise DataError(f"{path} does not exist") from None
    except (OSError, ValueError, DataError) as error:
        raise DataError(f"{path} is no file of a training store: {in_brief(error)}") from None
    if end < 0 or not isinstance(note, dict) or _checksum(table[:-_CHECKSUM_BYTES]) != table[-_CHECKSUM_BYTES:]:
        raise DataError(f"{path} is cut off or damaged: the checksum of its index differs")
    spans: NDArray[np.uint64] = np.frombuffer(table[:-_CHECKSUM_BYTES], dtype="<u8").reshape(count, 2)
    return Contents(note, spans)


_rooms = threading.local()


def _room(size: int) -> NDArray[np.uint8]:
    """Memory for compressed bytes, the same for all chunks of a thread: to get it costs as much as to read into it."""
    room: NDArray[np.uint8] | None = getattr(_rooms, "room", None)
    if room is None or len(room) < size:
        room = _rooms.room = np.empty(2 * size, dtype=np.uint8)
    return room[:size]


def read_chunk(path: Path, span: NDArray[np.uint64], dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """Values of the chunk at a span (offset, length).

    Raises:
        DataError: the chunk is not there or damaged; says what is wrong with it.
    """
    offset, length = int(span[0]), int(span[1])
    if offset == _NOWHERE:
        raise DataError("it was never written")
    try:
        file = os.open(path, os.O_RDONLY)
        try:
            content = _room(length)
            got = os.preadv(file, [content.data], offset)
        finally:
            os.close(file)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}") from None
    return decode_chunk(content[:got], dtype, shape)
