"""Downloads that are resumed belong to one file, whatever a server says."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from dwplus.pipeline.files.downloads import DownloadRetries, Part, download, retry_after_s

OLD, NEW = b"old content, " * 50, b"NEW CONTENT! " * 50
RETRIES = DownloadRetries(attempts=3, first_wait_s=0.0, longest_wait_s=0.0, silence_s=5.0)


class Changing(BaseHTTPRequestHandler):
    """A server of a file that has changed; how it answers a request for a part is set by each test."""

    headers_of_a_part: dict[str, str]
    requests: list[str | None]

    def do_GET(self) -> None:
        self.requests.append(self.headers.get("Range"))
        wanted = self.headers.get("Range")
        body, headers = NEW, {"ETag": '"new"', "Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}
        if wanted:
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            body = NEW[start:]
            headers = {"Content-Range": f"bytes {start}-{len(NEW) - 1}/{len(NEW)}", **self.headers_of_a_part}
        self.send_response(206 if wanted else 200)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    Changing.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Changing) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/file"
        server.shutdown()
        thread.join()


def half_done(folder: Path, **said: object) -> Part:
    part = Part(folder / "file.part")
    part.path.write_bytes(OLD[:100])
    part.record_path.write_text(json.dumps({"etag": None, "last_modified": None, "size": len(OLD), **said}))
    return part


def fetched(url: str, part: Part) -> bytes:
    download(url, part, expected_size=None, progress=lambda *_: None, retries=RETRIES, rng=random.Random(0))
    return part.path.read_bytes()


@pytest.mark.parametrize(
    ("said", "headers"),
    [
        ({"etag": '"old"'}, {"ETag": '"new"'}),
        ({"etag": 'W/"old"'}, {"ETag": 'W/"new"'}),
        ({"last_modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, {"Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}),
        ({"etag": '"old"', "last_modified": "same"}, {"ETag": '"new"', "Last-Modified": "same"}),
        ({}, {"Content-Range": f"bytes 99-{len(NEW) - 1}/{len(NEW)}"}),
        ({}, {"Content-Range": f"bytes 100-{len(NEW)}/{len(NEW)}"}),
        ({}, {"Content-Range": f"bytes 100-200/{len(NEW)}"}),
        ({}, {"Content-Range": f"bytes 100-{len(NEW) - 1}/{len(NEW) + 5}"}),
        ({}, {"Content-Range": f"bytes 200-100/{len(NEW)}"}),
        ({}, {"Content-Range": "bytes \u00b2-3/4".encode().decode("latin-1")}),
        ({}, {"Content-Range": "nonsense"}),
    ],
    ids=["etag", "weak", "date", "both", "before", "beyond", "short", "size", "reversed", "digits", "nonsense"],
)
def test_a_part_of_another_file_is_not_appended_and_the_download_starts_again(
    url: str, tmp_path: Path, said: dict[str, object], headers: dict[str, str]
) -> None:
    Changing.headers_of_a_part = headers

    assert fetched(url, half_done(tmp_path, **said)) == NEW
    assert Changing.requests == ["bytes=100-", None]


@pytest.mark.parametrize("headers", [{"ETag": '"old"', "Last-Modified": "another mirror"}, {}])
def test_a_part_of_the_same_file_is_appended(url: str, tmp_path: Path, headers: dict[str, str]) -> None:
    Changing.headers_of_a_part = headers

    content = fetched(url, half_done(tmp_path, etag='"old"', last_modified="some time"))

    assert content == OLD[:100] + NEW[100:]
    assert Changing.requests == ["bytes=100-"]
    assert json.loads((tmp_path / "file.part.json").read_text())["etag"] == '"old"'


@pytest.mark.parametrize(
    "value",
    ["\u00b2", "-1", "1e9", "inf", "nan", "", " ", "soon", "\u0663", "9" * 400, "0x10", "Mon, 99 Foo 2024 99:99:99 GMT",
     "Fri, 31 Dec 99999 23:59:59 GMT", "1,2", "\ud800", None],
)  # fmt: skip
def test_a_retry_after_that_cannot_be_read_is_ignored(value: str | None) -> None:
    assert retry_after_s(value) is None


def test_a_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s(" 3 ") == 3.0
    assert retry_after_s("0.5") == 0.5
    assert retry_after_s(formatdate(time.time() + 100, usegmt=True)) == pytest.approx(100, abs=3)
    assert retry_after_s("Mon, 01 Jan 2001 00:00:00 GMT") == 0.0
