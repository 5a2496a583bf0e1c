"""Unpacking archives: hostile and damaged ones are refused, complete ones left alone."""

from __future__ import annotations

import io
import random
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from dwplus.pipeline import labels
from dwplus.pipeline.errors import DataError


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

    assert labels.extract(archive, tmp_path / "out", skip=("probs_*",)) == 2
    assert labels.extract(archive, tmp_path / "out", skip=("probs_*",)) == 0
    (tmp_path / "out" / "b.tif").write_bytes(b"bxbb")
    assert labels.extract(archive, tmp_path / "out", skip=("probs_*",)) == 1

    files = {p.relative_to(tmp_path / "out").as_posix(): p.read_bytes() for p in (tmp_path / "out").rglob("*.tif")}
    assert files == {"Experts/EH/1/a.tif": b"aaaa", "b.tif": b"bbbb"}


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
        labels.extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "a.zip"
    content = bytearray(ARCHIVE)
    content[20_000] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"member 'Experts/EH/1/a.tif' is damaged"):
        labels.extract(archive, tmp_path / "out")

    archive.write_bytes(ARCHIVE[:30_000])
    with pytest.raises(DataError, match="not a sound zip archive"):
        labels.extract(archive, tmp_path / "out")
