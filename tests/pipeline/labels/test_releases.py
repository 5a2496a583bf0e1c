"""Label releases over real HTTP, from a publisher with faults: what arrives, what is refused, what is resumed."""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import io
import json
import random
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from dwplus.pipeline.errors import DataError, DwplusError, ServiceError
from dwplus.pipeline.files import downloads
from dwplus.pipeline.files.downloads import DownloadRetries
from dwplus.pipeline.labels import releases
from dwplus.pipeline.labels.releases import Release, ReleaseFile

QUICK = DownloadRetries(attempts=3, first_wait_s=0.01, longest_wait_s=0.05, silence_s=2.0, progress_bytes=1000)


# A publisher ---------------------------------------------------------------------------------------------------------


@dataclass
class Publisher:
    """A small file server. Each request takes the next fault of ``faults`` before it is served properly.

    Faults: an int (answer that status), ``drop`` (close after half of the body), ``stale`` (another ETag from now on),
    ``no-range`` (serve everything, whatever was asked), ``html`` (an error page with status 200), ``trickle`` (2 KB
    every 0.05 s).
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[int | str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    version: int = 0
    url: str = ""


def _handler(publisher: Publisher) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.close_connection = True
            publisher.requests.append((self.path, self.headers.get("Range")))
            fault = publisher.faults.pop(0) if publisher.faults else None
            content = publisher.files.get(self.path)
            if isinstance(fault, int) or content is None:
                self._head(fault if isinstance(fault, int) else 404, 0, publisher.headers)
                return
            if fault == "html":
                content = b"<html><body>sign in first</body></html>"
            if fault == "stale":
                publisher.version += 1
            start = self._start(fault)
            if start is not None and start >= len(content):
                self._head(416, 0, {"Content-Range": f"bytes */{len(content)}"})
                return
            body = content[start or 0 :]
            extra = {"ETag": f'"v{publisher.version}"'}
            if start is not None:
                extra["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._head(200 if start is None else 206, len(body), extra)
            if fault == "trickle":
                self._trickle(body)
            else:
                self.wfile.write(body[: len(body) // 2] if fault == "drop" else body)

        def _trickle(self, body: bytes) -> None:
            with contextlib.suppress(OSError):
                for start in range(0, len(body), 2000):
                    self.wfile.write(body[start : start + 2000])
                    time.sleep(0.05)

        def _start(self, fault: object) -> int | None:
            wanted = self.headers.get("Range")
            current = self.headers.get("If-Range") in (None, f'"v{publisher.version}"')
            if wanted is None or not current or fault in ("no-range", "html"):
                return None
            return int(wanted.removeprefix("bytes=").rstrip("-"))

        def _head(self, status: int, length: int, extra: dict[str, str]) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            for name, value in extra.items():
                self.send_header(name, value)
            self.end_headers()

    return Handler


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    publisher = Publisher()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(publisher))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    publisher.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield publisher
    server.shutdown()
    server.server_close()


def _zip(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ARCHIVE = _zip({"Experts/EH/1/a.tif": random.Random(0).randbytes(40_000)})


def _file(publisher: Publisher, content: bytes = ARCHIVE, **changes: object) -> ReleaseFile:
    publisher.files["/f/Experts_tiles.zip"] = content
    file = ReleaseFile("pangaea", "Experts_tiles.zip", f"{publisher.url}/f/Experts_tiles.zip", "labels", "train")
    return replace(file, **changes)


# Releases and downloads ----------------------------------------------------------------------------------------------


def test_releases_say_where_files_are_and_under_which_terms() -> None:
    pangaea, zenodo, validation = releases.releases()

    assert [f.labeler for f in pangaea.files] == ["expert", "non_expert", "unknown"]
    assert [f.optional for f in pangaea.files] == [False, False, True]
    assert (zenodo.files[0].size, zenodo.files[0].split) == (3_897_915_689, "test")
    assert {r.licence for r in (pangaea, zenodo, validation)} == {"CC BY 4.0"}
    assert [f.split for f in validation.files] == ["inspect"]  # never part of a build


def test_a_download_is_recorded_and_not_asked_for_again(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    seen: list[tuple[str, int, int | None]] = []

    path = releases.fetch(file, tmp_path, progress=lambda *event: seen.append(event), retries=QUICK)
    again = releases.fetch(file, tmp_path, retries=QUICK)

    assert path == again == tmp_path / "pangaea" / "Experts_tiles.zip"
    assert path.read_bytes() == ARCHIVE
    assert len(publisher.requests) == 1
    assert seen[-1] == ("Experts_tiles.zip", len(ARCHIVE), len(ARCHIVE))
    record = json.loads(path.with_name("Experts_tiles.zip.json").read_text())
    assert record["size"] == len(ARCHIVE)
    assert record["sha256"] == hashlib.sha256(ARCHIVE).hexdigest()
    assert record["etag"] == '"v0"'
    assert sorted(p.name for p in path.parent.iterdir()) == ["Experts_tiles.zip", "Experts_tiles.zip.json"]


def test_a_record_holds_no_credentials(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    secret = file.url.replace("http://", "http://user:secret@")

    publisher.files["/f/Experts_tiles.zip?token=secret"] = ARCHIVE
    path = releases.fetch(replace(file, url=secret + "?token=secret"), tmp_path, retries=QUICK)

    assert path is not None
    text = path.with_name(path.name + ".json").read_text()
    assert "secret" not in text
    assert json.loads(text)["url"] == file.url


def test_a_broken_transfer_goes_on_where_it_stopped(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = ["drop", "drop"]

    path = releases.fetch(file, tmp_path, retries=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE
    half = len(ARCHIVE) // 2
    three_quarters = half + (len(ARCHIVE) - half) // 2
    assert [r for _, r in publisher.requests] == [None, f"bytes={half}-", f"bytes={three_quarters}-"]


def test_a_killed_run_is_taken_up_by_the_next_one(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = ["drop", 503, 503]
    with pytest.raises(ServiceError):
        releases.fetch(file, tmp_path, retries=QUICK)
    publisher.requests.clear()

    path = releases.fetch(file, tmp_path, retries=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE
    assert [r for _, r in publisher.requests] == [f"bytes={len(ARCHIVE) // 2}-"]


@pytest.mark.parametrize("fault", ["stale", "no-range"])
def test_a_part_that_cannot_be_continued_is_fetched_anew(fault: str, publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = ["drop", fault]

    path = releases.fetch(file, tmp_path, retries=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE


def test_a_part_that_is_complete_already_needs_no_bytes(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    part = tmp_path / "pangaea" / "Experts_tiles.zip.part"
    part.parent.mkdir()
    part.write_bytes(ARCHIVE)
    part.with_name(part.name + ".json").write_text(json.dumps({"etag": '"v0"', "size": len(ARCHIVE)}))

    path = releases.fetch(file, tmp_path, retries=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE
    assert len(publisher.requests) == 1


@pytest.mark.parametrize("fault", [429, 500, 503])
def test_what_may_get_better_is_tried_again(fault: int, publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = [fault, fault]

    assert releases.fetch(file, tmp_path, retries=QUICK) is not None
    assert len(publisher.requests) == 3


def test_retry_after_is_honoured(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults, publisher.headers = [429], {"Retry-After": "1"}
    started = time.monotonic()

    releases.fetch(file, tmp_path, retries=replace(QUICK, longest_wait_s=1.2))

    assert 1.0 <= time.monotonic() - started < 3.0


def test_retry_after_may_be_a_date() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)

    assert downloads.retry_after_s(in_a_minute) == pytest.approx(60, abs=2)
    assert downloads.retry_after_s("7") == 7
    assert downloads.retry_after_s("soon") is None


def test_waits_double_with_jitter_and_have_an_end() -> None:
    retries, rng = DownloadRetries(first_wait_s=1, longest_wait_s=10), random.Random(1)

    waits = [downloads._wait_s(n, None, retries, rng) for n in (1, 2, 3, 9)]

    assert all(
        low <= wait <= high for wait, (low, high) in zip(waits, [(0.5, 1), (1, 2), (2, 4), (10, 10)], strict=True)
    )
    assert downloads._wait_s(1, 8.0, retries, rng) == 8
    assert downloads._wait_s(1, 3600.0, retries, rng) == 10


def test_a_missing_file_is_not_asked_for_twice_and_the_message_says_what_to_do(
    publisher: Publisher, tmp_path: Path
) -> None:
    file = _file(publisher)
    publisher.files.clear()

    with pytest.raises(ServiceError, match=r"127\.0\.0\.1 answers HTTP 404.*--labels DIR"):
        releases.fetch(file, tmp_path, retries=QUICK)
    assert len(publisher.requests) == 1


def test_an_unreachable_host_is_named(tmp_path: Path) -> None:
    nobody = ReleaseFile("zenodo", "dw_test.zip", "http://127.0.0.1:9/dw_test.zip", "labels", "test")

    with pytest.raises(ServiceError, match=r"http://127\.0\.0\.1:9/dw_test\.zip.*3 attempts.*--labels DIR"):
        releases.fetch(nobody, tmp_path, retries=QUICK)


def test_a_silent_server_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x.zip"
        with pytest.raises(ServiceError, match=r"Timeout|timed out"):
            releases.fetch(
                ReleaseFile("zenodo", "x.zip", url, "labels", "test"),
                tmp_path,
                retries=replace(QUICK, attempts=2, silence_s=0.2),
            )


def test_a_request_that_takes_too_long_is_cut_and_continued(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = ["trickle"]

    path = releases.fetch(file, tmp_path, retries=replace(QUICK, request_s=0.2))

    assert path is not None
    assert path.read_bytes() == ARCHIVE
    (_, first), (_, second) = publisher.requests
    assert first is None
    assert second is not None
    assert 2000 <= int(second.removeprefix("bytes=").rstrip("-")) < 20_000


@pytest.mark.parametrize("fault", [404, 503, "html"])
def test_the_metadata_sheet_may_be_missing(
    fault: int | str, publisher: Publisher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = _file(publisher, kind="metadata", optional=True)
    publisher.faults = [fault] * 3

    assert releases.fetch(file, tmp_path, retries=QUICK) is None
    assert "continuing without Experts_tiles.zip" in caplog.text


def test_a_wrong_hash_removes_the_file(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher, md5="0" * 32)

    with pytest.raises(DataError, match=r"has md5 .*, the published file has 0000.*removed"):
        releases.fetch(file, tmp_path, retries=QUICK)
    assert list((tmp_path / "pangaea").iterdir()) == []


def test_a_wrong_length_is_refused_before_the_download(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher, size=3_897_915_689)

    with pytest.raises(DataError, match=f"has {len(ARCHIVE)} bytes, the published file has 3897915689"):
        releases.fetch(file, tmp_path, retries=QUICK)
    assert not (tmp_path / "pangaea" / "Experts_tiles.zip").exists()


def test_an_error_page_in_place_of_an_archive_is_refused(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    publisher.faults = ["html"]

    with pytest.raises(DataError, match=r"is not a \.zip file; it was removed"):
        releases.fetch(file, tmp_path, retries=QUICK)
    assert list((tmp_path / "pangaea").iterdir()) == []


def test_a_mirror_answers_for_its_own_files(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files["/mirror/zenodo/dw_test.zip"] = ARCHIVE
    zenodo = releases.releases()[1].files[0]  # another size and md5

    path = releases.fetch(zenodo, tmp_path, mirror=f"{publisher.url}/mirror/", retries=QUICK)

    assert path is not None
    assert path.read_bytes() == ARCHIVE
    with pytest.raises(DataError, match=r"is not the file that was downloaded there.*published 3897915689"):
        releases.fetch(zenodo, tmp_path, retries=QUICK)


def test_a_file_put_there_by_hand_is_checked_and_taken(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher, md5=hashlib.md5(ARCHIVE).hexdigest())
    (tmp_path / "pangaea").mkdir()
    (tmp_path / "pangaea" / "Experts_tiles.zip").write_bytes(ARCHIVE)

    assert releases.fetch(file, tmp_path, retries=QUICK) is not None
    assert publisher.requests == []


def test_a_full_disk_is_noticed_before_the_download(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _file(publisher)
    usage = type(downloads.shutil.disk_usage(tmp_path))(100, 90, 10)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)

    with pytest.raises(DwplusError, match=r"needs .* GB .* are free"):
        releases.fetch(file, tmp_path, retries=QUICK)


def test_room_for_everything_is_looked_for_before_the_first_byte(
    publisher: Publisher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """3.90 GB of Zenodo, 0.26 GB of PANGAEA and 0.71 GB for what is unpacked: 4.5 GB free are not enough."""
    usage = type(downloads.shutil.disk_usage(tmp_path))(10**10, 5_500_000_000, 4_500_000_000)
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: usage)
    here = [
        replace(r, files=tuple(replace(f, url=f"{publisher.url}/{f.name}") for f in r.files))
        for r in releases.releases()
    ]

    with pytest.raises(DwplusError, match=r"all of Experts_tiles.zip, .* needs 4\.87 GB .* 4\.50 GB are free"):
        releases.acquire(here, tmp_path, retries=QUICK)
    assert publisher.requests == []


def test_verifying_finds_a_file_that_was_changed(publisher: Publisher, tmp_path: Path) -> None:
    file = _file(publisher)
    path = releases.fetch(file, tmp_path, retries=QUICK)
    assert path is not None
    path.write_bytes(ARCHIVE[:-1] + b"\1")

    assert releases.fetch(file, tmp_path, retries=QUICK) == path  # of the same size: taken as it is
    with pytest.raises(DataError, match=r"Experts_tiles\.zip has sha256 .*, recorded .*damaged or changed"):
        releases.fetch(file, tmp_path, retries=QUICK, verify=True)


def test_acquire_takes_only_what_the_splits_need(publisher: Publisher, tmp_path: Path) -> None:
    publisher.files |= {f"/pangaea/{n}_tiles.zip": ARCHIVE for n in ("Experts", "Non_expert")}

    brought = releases.acquire(releases.releases(), tmp_path, mirror=publisher.url, splits=("train",), retries=QUICK)

    assert [(one.file.name[:7], one.path is not None, one.members, one.written) for one in brought] == [
        ("Experts", True, 1, 1),
        ("Non_exp", True, 1, 1),
        ("v1_dw_t", False, 0, 0),
    ]
    assert (tmp_path / "pangaea/Experts_tiles/Experts/EH/1/a.tif").is_file()
    assert not any("zenodo" in path for path, _ in publisher.requests)


def test_a_release_without_labels_of_a_split_asks_for_nothing(tmp_path: Path) -> None:
    release = Release("r", "", "", "", "", ())

    assert releases.acquire([release], tmp_path) == ()
