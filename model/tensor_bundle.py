"""Reads the variables of a TensorFlow SavedModel without TensorFlow: ``variables.index`` and its data file.

The index is a table of sorted keys as LevelDB writes it, its blocks plain or packed by Snappy, each with a CRC-32C; a
value is a protocol buffer that says type, shape, place and CRC-32C of one tensor in the data file. Source: LevelDB
doc/table_format.md, Snappy format_description.txt, TensorFlow core/protobuf/tensor_bundle.proto. Pure; torch is not
needed. ``published`` makes a run of what is read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..pipeline.errors import DataError, in_brief

INDEX_FILE = "variables.index"
DATA_FILE = "variables.data-00000-of-00001"

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5  # of a block: how it is packed, and a CRC-32C
_PLAIN, _SNAPPY = 0, 1
_LARGEST = 64 * 2**20  # bytes; Dynamic World's files have one

_DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8"}
"""Numbers of tensor types. Source: TensorFlow core/framework/types.proto."""


def read_bundle(folder: Path) -> dict[str, NDArray[np.generic]]:
    """The tensors of a checkpoint by their keys, as they are stored; those of other types (text) are left out.

    Args:
        folder: holds ``variables.index`` and ``variables.data-00000-of-00001``.

    Raises:
        DataError: a file is missing, damaged, or something else.
    """
    index, data = (_content(folder / name) for name in (INDEX_FILE, DATA_FILE))
    path = folder / INDEX_FILE
    try:
        entries = {key.decode(): _entry(value) for key, value in _table(index) if key}
    except (ValueError, IndexError, struct.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is no index of TensorFlow variables, or is damaged: {in_brief(error)}") from None
    return {key: _tensor(data, entry, key, folder) for key, entry in entries.items() if entry.dtype in _DTYPES}


def _content(path: Path) -> bytes:
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(f"{path} has more than {_LARGEST} bytes: these are other variables")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


# --- the table --------------------------------------------------------------------------------------------------------


def _table(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a table, in order."""
    if len(content) < _FOOTER or struct.unpack("<Q", content[-8:])[0] != _MAGIC:
        raise ValueError("it does not end like a table")
    footer = content[-_FOOTER:]
    _, at = _varint(footer, 0)  # the table of tables about the table: position and size
    _, at = _varint(footer, at)
    for _, handle in _entries(_block(content, footer[at:])):
        yield from _entries(_block(content, handle))


def _block(content: bytes, handle: bytes) -> bytes:
    """A block, unpacked, by its position and size."""
    start, at = _varint(handle, 0)
    size, _ = _varint(handle, at)
    end = start + size
    if end + _TRAILER > len(content):
        raise ValueError("it is shorter than it says")
    packing, checksum = content[end], struct.unpack("<I", content[end + 1 : end + _TRAILER])[0]
    if _masked(crc32c(content[start : end + 1])) != checksum:
        raise ValueError(f"the checksum of its block at {start} does not fit")
    if packing not in (_PLAIN, _SNAPPY):
        raise ValueError(f"its block at {start} is packed in way {packing}")
    block = content[start:end]
    return unpack_snappy(block) if packing == _SNAPPY else block


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block; a key leaves out what it has in common with the one before."""
    end = len(block) - 4 * (1 + struct.unpack("<I", block[-4:])[0])
    at, key = 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        size, at = _varint(block, at)
        if at + own + size > end or shared > len(key):
            raise ValueError("an entry is longer than its block")
        key = key[:shared] + block[at : at + own]
        yield key, block[at + own : at + own + size]
        at += own + size


def unpack_snappy(packed: bytes) -> bytes:
    """What Snappy packed: literals, and copies of what came before.

    Raises:
        ValueError: it is something else.
    """
    length, at = _varint(packed, 0)
    found = bytearray()
    while at < len(packed):
        kind, first = packed[at] & 3, packed[at] >> 2
        at += 1
        if kind == 0:
            extra = max(0, first - 59)  # bytes that hold a length of more than 60
            size = 1 + (int.from_bytes(packed[at : at + extra], "little") if extra else first)
            at += extra
            found += packed[at : at + size]
            at += size
            continue
        wide = (1, 2, 4)[kind - 1]
        size = 4 + (first & 7) if kind == 1 else 1 + first
        back = int.from_bytes(packed[at : at + wide], "little") + ((first >> 3 << 8) if kind == 1 else 0)
        at += wide
        if not 0 < back <= len(found):
            raise ValueError("a copy begins before the beginning")
        for _ in range(size):  # a copy may reach into itself
            found.append(found[-back])
    if len(found) != length:
        raise ValueError(f"{len(found)} bytes unpacked instead of {length}")
    return bytes(found)


# --- the entries ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    dtype: int = 0
    shape: tuple[int, ...] = ()
    shard: int = 0
    offset: int = 0
    size: int = 0
    checksum: int = 0


def _entry(message: bytes) -> _Entry:
    """A ``BundleEntryProto``."""
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    for field, value in _fields(message):
        if field == 2 and isinstance(value, bytes):
            shape = tuple(_size_of(dim) for number, dim in _fields(value) if number == 2 and isinstance(dim, bytes))
        elif isinstance(value, int):
            numbers[field] = value
    return _Entry(*(numbers.get(1, 0), shape), *(numbers.get(field, 0) for field in (3, 4, 5, 6)))


def _size_of(dim: bytes) -> int:
    return next((value for field, value in _fields(dim) if field == 1 and isinstance(value, int)), 0)


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and values of the fields of a protocol buffer."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        wire = tag & 7
        if wire == 0:
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif wire == 2:
            size, at = _varint(message, at)
            yield tag >> 3, message[at : at + size]
            at += size
        elif wire in (1, 5):
            width = 8 if wire == 1 else 4
            yield tag >> 3, int.from_bytes(message[at : at + width], "little")
            at += width
        else:
            raise ValueError(f"a field of kind {wire}")


def _tensor(data: bytes, entry: _Entry, key: str, folder: Path) -> NDArray[np.generic]:
    dtype = np.dtype(_DTYPES[entry.dtype])
    content = data[entry.offset : entry.offset + entry.size]
    whole = entry.shard == 0 and len(content) == entry.size == prod(entry.shape) * dtype.itemsize
    if not whole or _masked(crc32c(content)) != entry.checksum:
        raise DataError(
            f"{folder / DATA_FILE} is damaged or belongs to another index: its bytes for {key} do not fit; fetch both "
            "files again"
        )
    return np.frombuffer(content, dtype).reshape(entry.shape)


# --- numbers ----------------------------------------------------------------------------------------------------------


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of 7 bits a byte, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("a number of more than 64 bits")


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)


_CRC = _crc_table()


def crc32c(content: bytes) -> int:
    """Castagnoli's CRC-32, as iSCSI has it (RFC 3720): 0xE3069283 for ``123456789``."""
    value = 0xFFFFFFFF
    for byte in content:
        value = _CRC[(value ^ byte) & 255] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


def _masked(checksum: int) -> int:
    """As LevelDB stores a checksum, so that one of data with checksums in it differs from them."""
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF
