"""Checksums: a file is hashed once, then trusted while it stays the same; a document carries its own."""

import os
from pathlib import Path

import pytest
from dwplus.pipeline.errors import DataError
from dwplus.pipeline.files import checksums
from dwplus.pipeline.files.atomic import read_json, sha256_of
from dwplus.pipeline.files.checksums import check_seal, read_checked, sealed


def test_a_file_that_changed_on_disk_is_refused_by_name_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "shard.tif"
    path.write_bytes(b"flipped")

    with pytest.raises(DataError, match=r"shard\.tif is not the file on record.*run 'dwplus validate'"):
        read_checked(path, b"flipped", sha256_of(b"written"), remedy="run 'dwplus validate'")


def test_a_file_is_hashed_once_and_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "shard.tif"
    path.write_bytes(b"written")
    hashed = []
    real = checksums.hashlib.sha256
    monkeypatch.setattr(checksums.hashlib, "sha256", lambda content: (hashed.append(content), real(content))[1])
    for _ in range(3):
        read_checked(path, b"written", sha256_of(b"written"), remedy="")
    assert hashed.count(b"written") == 1 + 3  # ours, and the three of this test

    path.write_bytes(b"altered")
    os.utime(path, ns=(1, 1))
    with pytest.raises(DataError):
        read_checked(path, b"altered", sha256_of(b"written"), remedy="")


def test_a_changed_document_is_refused_whatever_its_spaces(tmp_path: Path) -> None:
    document = sealed({"mean": 0.1, "tiles": [1, 2]})
    check_seal({key: document[key] for key in reversed(document)}, tmp_path, remedy="")

    with pytest.raises(DataError, match=r"stats\.json was changed since dwplus wrote it"):
        check_seal({**document, "mean": 10.0}, tmp_path / "stats.json", remedy="run 'dwplus normalise' again")


def test_a_document_without_a_checksum_is_read_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        check_seal({"mean": 0.1}, tmp_path / "old.json", remedy="")

    assert [record.message for record in caplog.records if "old.json" in record.message] == [
        f"{tmp_path / 'old.json'} has no checksum (written by an earlier version): read unchecked"
    ]


def test_deep_nesting_and_other_shapes_are_errors_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 200_000)

    with pytest.raises(DataError, match=r"deep\.json"):
        read_json(tmp_path / "deep.json")
