"""Files at URLs: a ``Remote`` reads like a ``Path``, through any file system that fsspec knows.

``place / "name"``, ``read_bytes()``. Local places stay plain paths and import nothing.
"""

from __future__ import annotations

import random
import re
import time
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ..errors import AuthenticationError, DwplusError, ServiceError, UsageError

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses between tries of one object: a server may fail for half a minute."""


_EXTRA = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
"""Packages of the extra ``cloud``, by scheme."""


_TRANSIENT_STATUS = frozenset({408, 425, 429})


_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)


def shown_url(url: str) -> str:
    """A URL as it is shown and recorded: without user, password, query and fragment, which may be secrets."""
    if "://" not in url:  # an address whose scheme was forgotten
        return re.split("[?#]", url.rpartition("@")[2])[0]
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that is none"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def without_secrets(text: str) -> str:
    """A message in which every URL is shown as ``shown_url`` does: libraries repeat theirs whole."""
    return _URL.sub(lambda found: shown_url(found[0]), text)


def _with_query(url: str) -> tuple[str, str]:
    """A URL before its query, and the query with its question mark; buckets have none."""
    path, mark, query = url.partition("?") if urlsplit(url).scheme in ("http", "https", "abfs", "az") else (url, "", "")
    return path.rstrip("/"), mark + query


@dataclass(frozen=True, repr=False)
class Remote:
    """A file or folder at a URL; small, so that it can be sent to workers.

    As text it has no user, password or query; these are kept for requests only.

    Attributes:
        url: without a slash at its end, such as ``s3://bucket/data/earthengine``; a query, as that of a shared access
            signature, goes with every file below it.
        waits_s: pauses between tries where the server fails.
    """

    url: str
    waits_s: tuple[float, ...] = WAITS_S

    def __truediv__(self, name: str) -> Remote:
        folder, query = _with_query(self.url)
        return Remote(f"{folder}/{name}{query}", self.waits_s)

    def __str__(self) -> str:
        return shown_url(self.url)

    def __repr__(self) -> str:
        return f"Remote({str(self)!r})"

    @property
    def name(self) -> str:
        return _with_query(self.url)[0].rpartition("/")[2]

    def read_bytes(self) -> bytes:
        """Content of the file, by one request.

        Raises:
            FileNotFoundError: there is none.
            AuthenticationError: the server does not let us read it.
            ServiceError: it failed again and again.
            UsageError: the package for such URLs is not installed.
        """
        for wait_s in (*self.waits_s, None):
            files, path = _file_system(self.url)
            try:
                content: bytes = files.cat_file(path)
                return content
            except FileNotFoundError:
                raise
            except Exception as error:
                if (fault := self._fault(error, last=wait_s is None)) is not None:
                    raise fault from None
            # Spread out: workers that failed together should not come back together.
            time.sleep((wait_s or 0) * (0.5 + random.random()))
        raise AssertionError("the last try returns or raises")

    def _fault(self, error: Exception, *, last: bool) -> DwplusError | None:
        """What a failure means; None where another try may help."""
        # Every file system has its errors; they share the HTTP status, where there is one.
        status = getattr(error, "status", None)
        if isinstance(error, PermissionError) or status in (401, 403) or "Credential" in type(error).__name__:
            return AuthenticationError(
                f"no right to read {self} ({_as_text(error)}); sign in to the storage on every machine that reads "
                "it, with the right to list and to read"
            )
        final = isinstance(status, int) and 400 <= status < 500 and status not in _TRANSIENT_STATUS
        if not (final or last):
            return None
        tries = "" if final else f", {len(self.waits_s) + 1} times"
        return ServiceError(
            f"cannot read {self}: {_as_text(error)}{tries}; run the command again when the server answers"
        )


Place = Path | Remote


def is_url(text: str) -> bool:
    return "://" in text


def is_this_machine(url: str) -> bool:
    """Whether a URL is an address of this machine itself, which no proxy can reach."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it; fsspec keeps one per process, also after a fork.

    Raises:
        UsageError: there is none for such URLs, or its package is not installed.
    """
    import fsspec

    scheme = urlsplit(url).scheme
    options: dict[str, Any] = {}
    if scheme in ("http", "https"):
        # Proxies and .netrc are believed, as by other programs.
        options = {"client_kwargs": {"trust_env": True}}
    try:
        files, path = fsspec.core.url_to_fs(url, **options)
    except ImportError as error:
        known = _EXTRA.get(scheme)
        advice = f"{known}: pip install 'dwplus[cloud]'" if known else f"its package: {_as_text(error)}"
        raise UsageError(f"reading {scheme}:// needs, on every machine that reads, {advice}") from None
    except ValueError as error:
        raise UsageError(
            f"{shown_url(url)}: {_as_text(error)}; write a folder, or a URL such as s3://bucket/data/earthengine"
        ) from None
    return files, path


def _as_text(error: BaseException) -> str:
    text = without_secrets(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
