"""Places that files are read from: a local folder, or a URL of any file system that fsspec knows.

A ``Remote`` reads like a ``Path``: ``place / "name"``, ``read_bytes()``. Local places stay plain paths and import
nothing.

A data root whose pixels lie elsewhere is a local folder with ``origin.json`` (``mirror``): manifest, ledger and results
are in it, shards and labels at the URL. So every stage works on a local root, and only what reads pixels asks
``pixels_of(root)`` where they are.
"""

from __future__ import annotations

import random
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import AuthenticationError, DataError, DwplusError, ServiceError, UsageError
from .files import read_json, write_atomically, write_json

ORIGIN_FILE = "origin.json"
"""In a data root whose shards and labels lie elsewhere: where."""

WAITS_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Pauses between tries of one object: a server may fail for half a minute."""

_ALWAYS = ("manifest.parquet", "ledger.jsonl")
_WHERE_THERE = ("recipe.json",)
_RESULTS = ("findings.json", "findings.csv", "stats-strict.json", "stats-paper.json")
"""Of the origin, until there are own ones."""

_EXTRA = {"http": "aiohttp", "https": "aiohttp", "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
"""Packages of the extra ``cloud``, by scheme."""

_TRANSIENT_STATUS = frozenset({408, 425, 429})


@dataclass(frozen=True)
class Remote:
    """A file or folder at a URL; small, so that it can be sent to workers.

    Attributes:
        url: without a slash at its end, such as ``s3://bucket/data/earthengine``.
        waits_s: pauses between tries where the server fails.
    """

    url: str
    waits_s: tuple[float, ...] = WAITS_S

    def __truediv__(self, name: str) -> Remote:
        return Remote(f"{self.url}/{name}", self.waits_s)

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

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
        # Every file system has errors of its own; what they share is the status of HTTP, where there is one.
        status = getattr(error, "status", None)
        if isinstance(error, PermissionError) or status in (401, 403) or "Credential" in type(error).__name__:
            return AuthenticationError(
                f"no right to read {self.url} ({_in_words(error)}); sign in to the storage on every machine that reads "
                "it, with the right to list and to read"
            )
        final = isinstance(status, int) and 400 <= status < 500 and status not in _TRANSIENT_STATUS
        if not (final or last):
            return None
        tries = "" if final else f", {len(self.waits_s) + 1} times"
        return ServiceError(
            f"cannot read {self.url}: {_in_words(error)}{tries}; run the command again when the server answers"
        )


Place = Path | Remote


def is_url(text: str) -> bool:
    return "://" in text


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
        advice = f"{known}: pip install 'dwplus[cloud]'" if known else f"its package: {_in_words(error)}"
        raise UsageError(f"reading {scheme}:// needs, on every machine that reads, {advice}") from None
    except ValueError as error:
        raise UsageError(f"{url}: {error}; write a folder, or a URL such as s3://bucket/data/earthengine") from None
    return files, path


def _in_words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


# --- data roots -------------------------------------------------------------------------------------------------------


def pixels_of(root: Path) -> Place:
    """Where the shards and labels of a data root lie: what tasks on workers read from.

    Raises:
        DataError: ``origin.json`` cannot be read.
    """
    path = root / ORIGIN_FILE
    if not path.is_file():
        # Workers of another cluster have another current folder.
        return root.absolute()
    content = read_json(path)
    if not isinstance(content, dict) or not is_url(str(content.get("url", ""))):
        raise DataError(f"{path} names no URL; remove {root} and name the URL again with --data")
    return Remote(content["url"])


def mirror(url: str, root: Path, *, waits_s: tuple[float, ...] = WAITS_S) -> Path:
    """A local data root of the data set at a URL: its manifest and ledger as they are now; pixels stay where they are.

    Results (findings, statistics) are those of the origin until ``validate`` and ``normalise`` write own ones.

    Raises:
        UsageError: the folder holds another data set.
        DataError: there is no data set at the URL.
        ServiceError, AuthenticationError: it cannot be read.
    """
    origin = Remote(url.rstrip("/"), waits_s)
    _check_own(root, origin.url)
    try:
        contents = {name: (origin / name).read_bytes() for name in _ALWAYS}
    except FileNotFoundError as error:
        raise DataError(
            f"{origin.url} holds no data set: no {Path(str(error)).name or 'manifest.parquet'}; name the folder that "
            "holds manifest.parquet, such as s3://bucket/data/earthengine"
        ) from None
    for name in (*_WHERE_THERE, *(name for name in _RESULTS if not (root / name).exists())):
        try:
            contents[name] = (origin / name).read_bytes()
        except FileNotFoundError:
            continue
    if not (root / ORIGIN_FILE).exists():
        write_json(root / ORIGIN_FILE, {"url": origin.url})
    for name, content in contents.items():
        if not (root / name).exists() or (root / name).read_bytes() != content:
            write_atomically(root / name, content)
    return root


def _check_own(root: Path, url: str) -> None:
    if (root / ORIGIN_FILE).is_file():
        if str(pixels_of(root)) != url:
            raise UsageError(f"{root} belongs to {pixels_of(root)}, not to {url}; name another folder with --out")
    elif root.exists() and any(root.iterdir()):
        raise UsageError(f"{root} holds something else already; name an empty or new folder with --out")


def check_in_sight(place: Place) -> None:
    """Make sure that this machine sees a local data root, before every tile of it is called missing.

    Raises:
        DataError: it does not.
    """
    if isinstance(place, Path) and not (place / _ALWAYS[0]).is_file():
        raise DataError(
            f"{socket.gethostname()} does not see {place}; put the data on a file system that all workers share under "
            "the same path, or name it by a URL"
        )
