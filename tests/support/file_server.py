"""A web server for the files of a folder that can be told to fail; also answers as an S3 bucket anyone may read."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

CUT = -1
"""A fault in place of a status: half of the file, then the connection ends."""


class FileServer:
    """What a server over a folder does and has seen.

    Attributes:
        url: of the folder.
        faults: name of a file -> statuses (or ``CUT``) with which its next requests are answered.
        asked: name of a file -> number of requests.
    """

    def __init__(self, folder: Path) -> None:
        self.faults: dict[str, list[int]] = defaultdict(list)
        self.asked: Counter[str] = Counter()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self, str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, owner: FileServer, folder: str, *arguments: Any) -> None:
        self.owner = owner
        super().__init__(*arguments, directory=folder)

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].rpartition("/")[2]
        self.owner.asked[name] += 1
        fault = self.owner.faults[name].pop(0) if self.owner.faults[name] else 0
        path = Path(self.translate_path(self.path))
        if fault > 0 or not path.is_file():
            # The body is what S3 says; others do not read it.
            self._answer(fault or 404, b"<Error><Code>%s</Code></Error>" % (b"" if fault else b"NoSuchKey"))
        elif fault == CUT:
            content = path.read_bytes()
            self._answer(200, content[: len(content) // 2], length=len(content))
            self.close_connection = True
        else:
            self._answer(200, path.read_bytes())

    def _answer(self, status: int, body: bytes, *, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[FileServer]:
    server = FileServer(folder)
    try:
        yield server
    finally:
        server.close()
