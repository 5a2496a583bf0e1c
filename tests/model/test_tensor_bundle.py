"""TensorFlow variables, read without TensorFlow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dwplus.model.tensor_bundle import DATA_FILE, INDEX_FILE, crc32c, read_bundle, unpack_snappy
from dwplus.pipeline.errors import DataError
from support.tensor_bundles import key, write_bundle


def tensors(count: int = 40) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {key(n): rng.normal(size=(1 + n % 3, 2)).astype(np.float32) for n in range(count)}


def test_the_checksum_is_that_of_the_standard() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        (b"\x05\x10abcde", b"abcde"),
        (b"\x0a\x08abc\x0d\x03", b"abcabcabca"),  # a copy of seven reaches into itself
        (b"\x08\x0cabcd\x0e\x04\x00", b"abcdabcd"),
        (b"\x40\xf0\x3f" + bytes(64), bytes(64)),  # a literal of more than 60 says its length in a byte of its own
    ],
)
def test_snappys_literals_and_copies(packed: bytes, plain: bytes) -> None:
    assert unpack_snappy(packed) == plain


@pytest.mark.parametrize("packed", [b"\x05\x10abc", b"\x08\x00a\x0e\x04\x00", b""])
def test_what_snappy_did_not_pack_is_refused(packed: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        unpack_snappy(packed)


@pytest.mark.parametrize("snappy", [True, False])
def test_tensors_come_back_by_their_keys(tmp_path: Path, snappy: bool) -> None:
    written = tensors()

    found = read_bundle(write_bundle(tmp_path, written, snappy=snappy))

    assert found.keys() == written.keys()
    for name, values in written.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(
    ("name", "damage", "words"),
    [
        (INDEX_FILE, lambda content: content[:-1], "no index"),
        (INDEX_FILE, lambda content: b"", "no index"),
        (INDEX_FILE, lambda content: b"\xff" + content[1:], "checksum of its block at 0"),
        (DATA_FILE, lambda content: content[:-4], "damaged or belongs to another index"),
        (DATA_FILE, lambda content: b"\xff" + content[1:], "damaged or belongs to another index"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, name: str, damage: object, words: str) -> None:
    path = write_bundle(tmp_path, tensors()) / name
    path.write_bytes(damage(path.read_bytes()))  # type: ignore[operator]

    with pytest.raises(DataError, match=words) as error:
        read_bundle(tmp_path)

    assert "\n" not in str(error.value)


def test_every_cut_and_every_flipped_byte_of_an_index_is_found(tmp_path: Path) -> None:
    path = write_bundle(tmp_path, tensors(3)) / INDEX_FILE
    whole = path.read_bytes()

    for place in range(len(whole)):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 64]) + whole[place + 1 :]):
            path.write_bytes(content)
            try:
                found = read_bundle(tmp_path)
            except DataError:
                continue
            # What a table of tables or the footer's filling says is never read.
            np.testing.assert_array_equal(found[key(0)], tensors(3)[key(0)])


def test_a_missing_data_file_is_named(tmp_path: Path) -> None:
    (write_bundle(tmp_path, tensors()) / DATA_FILE).unlink()

    with pytest.raises(DataError, match=DATA_FILE):
        read_bundle(tmp_path)
