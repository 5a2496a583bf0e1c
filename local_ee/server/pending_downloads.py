"""Announced thumbnails and maps by their names: who knows a name may fetch without credentials, as on Earth Engine."""

from __future__ import annotations

import json
import re
import secrets
from collections import OrderedDict
from threading import Lock
from typing import Literal

Kind = Literal["thumbnails", "maps"]

MAX_KEPT = 256
MAX_KEPT_BYTES = 64 * 2**20
"""Announcements that are remembered; those not fetched for longest are forgotten first."""


class PendingDownloads:
    """Bodies of announcements by their names; of one server, for all of its threads."""

    def __init__(self) -> None:
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._lock = Lock()

    def keep(self, project: str, body: bytes, kind: Kind = "thumbnails") -> bytes:
        """The answer to an announcement that was checked: its name."""
        name = f"projects/{project}/{kind}/{secrets.token_hex(16)}"
        with self._lock:
            self._bodies[name] = body
            while len(self._bodies) > MAX_KEPT or sum(map(len, self._bodies.values())) > MAX_KEPT_BYTES:
                self._bodies.popitem(last=False)
        return json.dumps({"name": name}).encode()

    def body(self, route: str) -> bytes | None:
        """What was announced under the name in ``/v1/NAME:getPixels``; None for any other route or name."""
        match = re.fullmatch(r"/v1/(projects/[^/]+/thumbnails/[0-9a-f]+):getPixels", route)
        return None if match is None else self._fetched(match[1])

    def tile(self, route: str) -> tuple[str, bytes] | None:
        """``z/x/y`` and what was announced as the NAME in ``/v1/NAME/tiles/z/x/y``; None for other routes and names."""
        match = re.fullmatch(r"/v1/(projects/[^/]+/maps/[0-9a-f]+)/tiles/([^/]+/[^/]+/[^/]+)", route)
        body = None if match is None else self._fetched(match[1])
        return None if match is None or body is None else (match[2], body)

    def _fetched(self, name: str) -> bytes | None:
        with self._lock:
            if name in self._bodies:
                self._bodies.move_to_end(name)  # a map that is looked at is kept
            return self._bodies.get(name)
