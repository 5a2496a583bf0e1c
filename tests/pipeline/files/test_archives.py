"""Unpacking archives: hostile and damaged ones are refused, complete ones left alone."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.files import archives
from dwplus.pipeline.files.archives import members_path, read_members


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ARCHIVE = _zip({"Experts/EH/1/a.tif": random.Random(0).randbytes(40_000)})


def test_unpacking_twice_writes_nothing_and_mends_what_was_damaged(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(_zip({"Experts/EH/1/a.tif": b"aaaa", "b.tif": b"bbbb", "probs_c.tif": b"c"}))

    assert archives.extract(archive, tmp_path / "out", skip=("probs_*",)).written == 2
    assert archives.extract(archive, tmp_path / "out", skip=("probs_*",)).written == 0
    (tmp_path / "out" / "b.tif").write_bytes(b"bx")
    assert archives.extract(archive, tmp_path / "out", skip=("probs_*",)).written == 1
    (tmp_path / "out" / "b.tif").write_bytes(b"bxbb")
    assert archives.extract(archive, tmp_path / "out", skip=("probs_*",)).written == 0
    assert archives.extract(archive, tmp_path / "out", skip=("probs_*",), verify=True).written == 1

    files = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.tif")}
    assert files == {"Experts/EH/1/a.tif": b"aaaa", "b.tif": b"bbbb"}


@pytest.fixture
def unpacked(tmp_path: Path) -> tuple[Path, Path]:
    archive = tmp_path / "Experts_tiles.zip"
    archive.write_bytes(_zip({"EH/1/a.tif": b"aaaa", "EH/2/b.tif": b"bb"}))
    assert archives.extract(archive, tmp_path / "Experts_tiles").written == 2
    return archive, tmp_path / "Experts_tiles"


def test_size_and_hashes_of_every_member_are_recorded(unpacked: tuple[Path, Path]) -> None:
    archive, folder = unpacked

    document = json.loads(archive.with_name("Experts_tiles.members.json").read_text())
    assert document["members"] == [
        ["EH/1/a.tif", [4, f"{zlib.crc32(b'aaaa'):08x}", hashlib.sha256(b"aaaa").hexdigest()]],
        ["EH/2/b.tif", [2, f"{zlib.crc32(b'bb'):08x}", hashlib.sha256(b"bb").hexdigest()]],
    ]
    assert document["origin"]["sha256"] == hashlib.sha256(archive.read_bytes()).hexdigest()
    record = read_members(folder)
    assert record is not None
    assert (record.missing(folder), record.changed(folder)) == ([], [])


def test_an_archive_with_its_record_is_not_opened_again(unpacked: tuple[Path, Path]) -> None:
    archive, folder = unpacked
    before = archive.stat()
    archive.write_bytes(b"x" * before.st_size)  # whoever opens it fails
    os.utime(archive, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert archives.extract(archive, folder).written == 0
    (folder / "EH/2/b.tif").unlink()
    with pytest.raises(DataError, match="not a sound zip archive"):
        archives.extract(archive, folder)


def test_a_copy_of_an_archive_is_the_same_archive(unpacked: tuple[Path, Path]) -> None:
    archive, folder = unpacked
    os.utime(archive, (1, 1))
    (folder / "EH/2/b.tif").unlink()

    assert archives.extract(archive, folder).written == 1
    record = read_members(folder)
    assert record is not None
    assert record.origin["mtime_ns"] == 1_000_000_000


def test_another_archive_of_that_name_is_unpacked_anew(unpacked: tuple[Path, Path]) -> None:
    archive, folder = unpacked
    archive.write_bytes(_zip({"EH/1/a.tif": b"AAAA", "EH/3/c.tif": b"cc"}))

    assert archives.extract(archive, folder).written == 2
    assert sorted(p.name for p in folder.rglob("*.tif")) == ["a.tif", "c.tif"]
    assert (folder / "EH/1/a.tif").read_bytes() == b"AAAA"


def test_a_torn_record_is_written_anew(unpacked: tuple[Path, Path]) -> None:
    archive, folder = unpacked
    members_path(folder).write_text('{"members": [["EH')

    assert archives.extract(archive, folder).written == 0
    assert read_members(folder) is not None


def _link() -> bytes:
    buffer, info = io.BytesIO(), zipfile.ZipInfo("EH/link.tif")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def _huge() -> bytes:
    """A member that claims a gigabyte: the central directory is patched, nothing is that large."""
    content = bytearray(_zip({"EH/huge.tif": b"x"}))
    at = content.index(b"PK\x01\x02")
    content[at + 24 : at + 28] = (1 << 30).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: _zip({"../evil.tif": b""}), r"'\.\./evil\.tif' leads out of the folder"),
        (lambda: _zip({"EH\\..\\..\\evil.tif": b""}), "leads out of the folder"),
        (lambda: _zip({"/etc/evil.tif": b""}), "'/etc/evil.tif' has an absolute path"),
        (lambda: _zip({"C:\\evil.tif": b""}), "has an absolute path"),
        (lambda: _zip({"EH/a.tif": b"1", "EH//a.tif": b"2"}), "'EH//a.tif' goes to the same place as 'EH/a.tif'"),
        (lambda: _zip({"EH/a.tif": b"1", "eh/A.tif": b"2"}), "goes to the same place"),
        (lambda: _zip({"EH": b"1", "EH/a.tif": b"2"}), "'EH/a.tif' lies inside a file"),
        (_link, "'EH/link.tif' is a link or a device"),
        (_huge, "'EH/huge.tif' has 1073741824 bytes unpacked"),
    ],
)
def test_a_member_that_has_no_business_there_is_refused_by_name(
    make: Callable[[], bytes], message: str, tmp_path: Path
) -> None:
    archive = tmp_path / "in" / "a.zip"
    archive.parent.mkdir()
    archive.write_bytes(make())

    with pytest.raises(DataError, match=message):
        archives.extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    content = bytearray(ARCHIVE)
    content[20_000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"member 'Experts/EH/1/a.tif' is damaged"):
        archives.extract(archive, tmp_path / "out")

    archive.write_bytes(ARCHIVE[:30_000])
    with pytest.raises(DataError, match="not a sound zip archive"):
        archives.extract(archive, tmp_path / "out")
