"""The server process of the local Earth Engine: HTTP on 127.0.0.1, pixels in worker processes.

``python -m dwplus.local_ee.server`` reads its configuration as one line of JSON from stdin, writes one line of
JSON to stdout when it is ready (or says why not), and ends with its parent. ``launch.LocalEarthEngine`` starts it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from ..refusal import Refusal
from .handler import Server
from .routes import Router, ServerSettings

PARENT_POLL_S = 0.5


def main() -> None:
    """Serve until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    given = json.loads(sys.stdin.readline())
    unknown = set(given) - {item.name for item in fields(ServerSettings)}
    if unknown:
        _fail(f"unknown settings: {', '.join(sorted(unknown))}")
    settings = ServerSettings(**given)
    http = _listen(settings.port)
    folder = Path(tempfile.mkdtemp(prefix="dwplus-local-ee-"))  # 0700: of this user alone
    try:
        router = Router(settings, folder, http.server_address[1])
    except (Refusal, OSError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        _fail(str(error))
    credentials = folder / "service-account.json"
    credentials.touch(mode=0o600)
    credentials.write_text(router.account.key_file(), "utf-8")
    ended = threading.Event()
    threading.Thread(target=_watch_stdin, args=(ended,), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    http.router = router
    threading.Thread(target=http.serve_forever, daemon=True).start()
    ready = {"url": router.url, "project": router.settings.project, "credentials_file": str(credentials)}
    _say(ready | {"token": router.account.admin_token})
    while not ended.wait(PARENT_POLL_S) and os.getppid() == parent:
        pass
    router.workers.close()
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # threads may still wait for clients


def _listen(port: int) -> Server:
    try:
        return Server(port)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        _fail(f"port {port} of 127.0.0.1: {reason}; name another, or 0 for any that is free")


def _fail(reason: str) -> NoReturn:
    """Say why the server does not start, and end."""
    _say({"error": reason})
    sys.exit(1)


def _say(content: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def _watch_stdin(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


if __name__ == "__main__":
    main()
