"""Downloads over HTTP that survive a poor connection: resumed, retried with growing waits, never waiting for ever.

``releases`` says what to download and checks the result.
"""

from __future__ import annotations

import logging
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from ..errors import DataError, DwplusError, ServiceError
from .atomic import read_json, write_json
from .remote import is_this_machine, shown_url

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DownloadRetries:
    """How long a download keeps trying.

    A request that runs into ``request_s`` is cut and continued by the next one. Attempts count from the last
    ``progress_bytes`` that arrived, so that a long download over a poor link ends only when nothing comes any more.
    """

    attempts: int = 6
    first_wait_s: float = 1.0
    longest_wait_s: float = 120.0
    silence_s: float = 60.0
    request_s: float = 1800.0
    progress_bytes: int = 1 << 20


class _Interrupted(Exception):  # noqa: N818 - not an error yet: the next attempt may succeed
    """A transfer ended early in a way that may get better."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True)
class Part:
    """A file on its way: ``<name>.part``, with what its server said of it in ``<name>.part.json``."""

    path: Path

    @property
    def record_path(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def record(self) -> dict[str, Any]:
        """``etag``, ``last_modified`` and ``size`` of the file that the part belongs to; empty when not known."""
        try:
            found = read_json(self.record_path)
        except DataError:
            return {}
        return found if isinstance(found, dict) else {}

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.record_path.unlink(missing_ok=True)


def download(
    url: str,
    part: Part,
    *,
    expected_size: int | None,
    progress: Callable[[int, int | None], None],
    retries: DownloadRetries,
    rng: random.Random,
) -> None:
    """Fill a part file, as many requests as it takes."""
    furthest, failures = part.size, 0
    with requests.Session() as http:
        http.trust_env = not is_this_machine(url)  # a proxy cannot reach our own machine
        while True:
            try:
                return _receive(http, url, part, expected_size=expected_size, progress=progress, retries=retries)
            except _Interrupted as interruption:
                if part.size - furthest >= retries.progress_bytes:
                    failures = 0
                furthest = max(furthest, part.size)
                failures += 1
                if failures >= retries.attempts:
                    raise _unreachable(url, f"{interruption} ({failures} attempts)") from interruption
                _log.info("%s: %s; trying again", shown_url(url), interruption)
                time.sleep(_wait_s(failures, interruption.retry_after_s, retries, rng))


def _wait_s(failures: int, retry_after_s: float | None, retries: DownloadRetries, rng: random.Random) -> float:
    """Seconds until the next attempt: doubling with jitter, or what the server demands, never beyond the longest."""
    backoff = retries.first_wait_s * 2.0 ** (failures - 1) * rng.uniform(0.5, 1.0)
    return min(max(backoff, retry_after_s or 0.0), retries.longest_wait_s)


def _receive(
    http: requests.Session,
    url: str,
    part: Part,
    *,
    expected_size: int | None,
    progress: Callable[[int, int | None], None],
    retries: DownloadRetries,
) -> None:
    """One request that resumes where the part ends; returns when the file is complete.

    Raises:
        _Interrupted: it ended early, another request may resume.
        ServiceError: the server refuses.
        DataError: the server has a file of another size than was published.
        DwplusError: the disk is full.
    """
    ends_at = time.monotonic() + retries.request_s
    try:
        response = http.get(
            url, headers=_range_headers(part), stream=True, timeout=(min(30.0, retries.silence_s), retries.silence_s)
        )
    except requests.RequestException as error:
        raise _Interrupted(_reason(error)) from error
    with response:
        start, total = _interpret(response, url, part)
        if expected_size is not None and total is not None and total != expected_size:
            part.discard()
            raise DataError(
                f"{shown_url(url)} has {total} bytes, the published file has {expected_size}; "
                "give label tiles with --labels DIR"
            )
        if start == total:
            return
        check_space(part.path.parent, None if total is None else total - start, shown_url(url))
        said = {"etag": response.headers.get("ETag"), "last_modified": response.headers.get("Last-Modified")}
        write_json(part.record_path, {**said, "size": total})
        blocks = _blocks(response, retries=retries, ends_at=ends_at)
        done = _store(blocks, part.path, start=start, report=lambda done: progress(done, total))
    if total is not None and done != total:
        raise _Interrupted(f"ended after {done} of {total} bytes")


def _store(blocks: Iterator[bytes], path: Path, *, start: int, report: Callable[[int], None]) -> int:
    """Append blocks to a file (0: write it anew); its size afterwards."""
    done = start
    try:
        with path.open("ab" if start else "wb") as file:
            for block in blocks:
                file.write(block)
                done += len(block)
                report(done)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DwplusError(f"cannot write {path}: {error.strerror or error}; free some space and run again") from error
    return done


def _range_headers(part: Part) -> dict[str, str]:
    """Ask for the rest of a part whose origin is known, for everything otherwise."""
    headers = {"Accept-Encoding": "identity"}
    record = part.record()
    if not part.size or not record:
        part.discard()
        return headers
    headers["Range"] = f"bytes={part.size}-"
    etag = record.get("etag")
    validator = etag if etag and not etag.startswith("W/") else record.get("last_modified")
    if validator:
        headers["If-Range"] = validator
    return headers


_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)$")
_MAY_GET_BETTER = frozenset({408, 425, 429, 500, 502, 503, 504})


def _interpret(response: requests.Response, url: str, part: Part) -> tuple[int, int | None]:
    """(offset at which the body of an answer starts, bytes of the whole file if known)."""
    status = response.status_code
    if status == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdigit() else None
    if status in _MAY_GET_BETTER:
        raise _Interrupted(f"answers HTTP {status}", _retry_after_s(response.headers.get("Retry-After")))
    match = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if status in (206, 416) and match is not None:
        start, total = int(match[1] or part.size), int(match[2])
        if start == part.size and (start == total if status == 416 else part.record().get("size") in (None, total)):
            return start, total
    if status in (206, 416):
        part.discard()
        raise _Interrupted("the file has changed since the download began")
    raise _unreachable(url, f"answers HTTP {status}")


def _retry_after_s(value: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, when.timestamp() - time.time())


def _blocks(response: requests.Response, *, retries: DownloadRetries, ends_at: float) -> Iterator[bytes]:
    """The body as it comes: ``read1`` hands over what has arrived, so that a trickle cannot outlive the deadline."""
    read = getattr(response.raw, "read1", response.raw.read)
    while True:
        try:
            block = read(1 << 18)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise _Interrupted(_reason(error)) from error
        if not block:
            return
        yield block
        if time.monotonic() > ends_at:
            raise _Interrupted(f"not complete within {retries.request_s:g} s")


def _reason(error: BaseException) -> str:
    """The innermost cause, without the wrapping of two HTTP libraries."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}"


def _unreachable(url: str, reason: str) -> ServiceError:
    host = urlsplit(url).hostname or url
    return ServiceError(
        f"cannot get {shown_url(url)}: {host} {reason}; run again later, or give label tiles that you have with "
        "--labels DIR"
    )


def check_space(folder: Path, needed: int | None, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed is not None and needed > free:
        raise DwplusError(
            f"{what} needs {needed / 1e9:.2f} GB in {folder}, {free / 1e9:.2f} GB are free; free some space or name "
            "another folder with --data"
        )
