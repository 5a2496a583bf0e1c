"""Writes TensorFlow variables as a SavedModel holds them: an index and a data file, plain or packed by Snappy."""

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from dwplus.model.tensor_bundle import DATA_FILE, INDEX_FILE
from numpy.typing import NDArray

_MAGIC = 0xDB4775248B80FB57


def key(number: int) -> str:
    return f"variables/{number}/.ATTRIBUTES/VARIABLE_VALUE"


def write_bundle(folder: Path, tensors: Mapping[str, NDArray[np.float32]], *, snappy: bool = True) -> Path:
    """Both files of some tensors, in blocks of 16 entries; the folder."""
    data, entries = b"", {b"": varints(1, 1)}  # the header: one data file
    for name in sorted(tensors):
        content = np.ascontiguousarray(tensors[name], "<f4").tobytes()
        dims = b"".join(part(2, varints(1, size)) for size in tensors[name].shape)
        entry = varints(1, 1) + part(2, dims) + varints(4, len(data)) + varints(5, len(content))
        entries[name.encode()] = entry + b"\x35" + struct.pack("<I", masked(bitwise_crc32c(content)))
        data += content
    names = sorted(entries)
    index, handles = b"", {}
    for start in range(0, len(names), 16):
        group = names[start : start + 16]
        handles[group[-1]], index = put(index, table_block({name: entries[name] for name in group}), snappy)
    meta, index = put(index, table_block({}), snappy)
    top, index = put(index, table_block(handles), snappy)
    footer = (meta + top).ljust(40, b"\0") + struct.pack("<Q", _MAGIC)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INDEX_FILE).write_bytes(index + footer)
    (folder / DATA_FILE).write_bytes(data)
    return folder


def put(file: bytes, content: bytes, snappy: bool) -> tuple[bytes, bytes]:
    """Handle of a block, and the file with it at its end."""
    packed = snappy_of(content) + b"\x01" if snappy else content + b"\x00"
    checksum = struct.pack("<I", masked(bitwise_crc32c(packed)))
    return varint(len(file)) + varint(len(packed) - 1), file + packed + checksum


def table_block(entries: Mapping[bytes, bytes]) -> bytes:
    """Each key without what it shares with the one before; one restart, at the beginning."""
    block, before = b"", b""
    for name, value in entries.items():
        shared = 0
        while shared < min(len(before), len(name)) and before[shared] == name[shared]:
            shared += 1
        block += varint(shared) + varint(len(name) - shared) + varint(len(value)) + name[shared:] + value
        before = name
    return block + struct.pack("<II", 0, 1)


def snappy_of(content: bytes) -> bytes:
    """Packed with copies of 4 to 64 bytes where the last 2,000 bytes hold the same, literals elsewhere."""
    packed, literal, at = varint(len(content)), b"", 0
    while at < len(content):
        size = min(64, len(content) - at)
        found = -1
        while size >= 4 and found < 0:
            found = content.rfind(content[at : at + size], max(0, at - 2000), at)
            size = size if found >= 0 else size // 2
        if found < 0:
            literal += content[at : at + 1]
            at += 1
            continue
        packed += literals(literal)
        literal = b""
        packed += bytes([(size - 1) << 2 | 2]) + struct.pack("<H", at - found)
        at += size
    return packed + literals(literal)


def literals(content: bytes) -> bytes:
    packed = b""
    for start in range(0, len(content), 256):
        part_ = content[start : start + 256]
        packed += bytes([(len(part_) - 1) << 2]) if len(part_) <= 60 else bytes([60 << 2, len(part_) - 1])
        packed += part_
    return packed


def part(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def varints(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found += bytes([value & 127 | 128])
        value >>= 7
    return found + bytes([value])


def masked(checksum: int) -> int:
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _bitwise_step(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value


_STEPS = [_bitwise_step(byte) for byte in range(256)]


def bitwise_crc32c(content: bytes) -> int:
    """By the polynomial, highest byte of the register first out."""
    value = 0xFFFFFFFF
    for byte in content:
        value = value >> 8 ^ _STEPS[(value & 255) ^ byte]
    return ~value & 0xFFFFFFFF
