"""Announced thumbnails by their names: anyone who knows a name may fetch without credentials, as on Earth Engine."""

from __future__ import annotations

import json
import re
import secrets
from collections import OrderedDict
from threading import Lock

MAX_KEPT = 256
MAX_KEPT_BYTES = 64 * 2**20
"""Announcements that are remembered; the oldest are forgotten first."""


class PendingDownloads:
    """Bodies of announcements by their names; of one server, for all of its threads."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def keep(self, project: str, body: bytes) -> bytes:
        """The answer to an announcement that was checked: its name."""
        name = f"projects/{project}/thumbnails/{secrets.token_hex(16)}"
        with self._lock:
            self._bodies[name] = body
            while len(self._bodies) > MAX_KEPT or sum(map(len, self._bodies.values())) > MAX_KEPT_BYTES:
                self._bodies.popitem(last=False)
        return json.dumps({"name": name}).encode()

    def body(self, route: str) -> bytes | None:
        """What was announced under the name in ``/v1/NAME:getPixels``; None for any other route or name."""
        match = re.fullmatch(r"/v1/(projects/[^/]+/thumbnails/[0-9a-f]+):getPixels", route)
        with self._lock:
            return None if match is None else self._bodies.get(match[1])
