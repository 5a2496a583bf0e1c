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
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3

from ..errors import DataError, DwplusError, ServiceError, in_brief
from .atomic import cannot_write, read_json, write_json
from .records import of_shape
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
class _PartDocument:
    """Content of ``<name>.part.json``."""

    etag: str | None = None
    last_modified: str | None = None
    size: int | None = None


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
            found = of_shape(read_json(self.record_path), _PartDocument, self.record_path, remedy="")
        except DataError:
            return {}
        known = {name: value for name, value in asdict(found).items() if value is not None}
        # They are sent back in headers, which hold printable ASCII.
        return {name: value for name, value in known.items() if str(value).isascii() and str(value).isprintable()}

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
        # What an answer to a request for the rest leaves out was said with the first part.
        known = {name: value for name, value in part.record().items() if start and value}
        write_json(part.record_path, {**said, "size": total, **known})
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
        raise cannot_write(path, error) from error
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


_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)")
_MAY_GET_BETTER = frozenset({408, 425, 429, 500, 502, 503, 504})


def _interpret(response: requests.Response, url: str, part: Part) -> tuple[int, int | None]:
    """(offset at which the body of an answer starts, bytes of the whole file if known)."""
    status = response.status_code
    if status == 200:
        return 0, _announced(response)
    if status in _MAY_GET_BETTER:
        raise _Interrupted(f"answers HTTP {status}", retry_after_s(response.headers.get("Retry-After")))
    if status not in (206, 416):
        raise _unreachable(url, f"answers HTTP {status}")
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if match is None or not _fits(response, match, part):
        part.discard()
        raise _Interrupted("the file has changed since the download began")
    return part.size, part.record().get("size") if match[3] == "*" else int(match[3])


def _announced(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None


def _fits(response: requests.Response, match: re.Match[str], part: Part) -> bool:
    """Whether an answer to a request for the rest of a file is that rest, and of the same file.

    A server may take no notice of ``If-Range``: what it says of the file is compared with what was said of the part.
    """
    record = part.record()
    if not _same_file(response, record):
        return False
    total = None if match[3] == "*" else int(match[3])
    if total is not None and record.get("size") not in (None, total):
        return False
    if response.status_code == 416:
        return total == part.size
    if match[1] is None or int(match[1]) != part.size:
        return False
    length, sent = int(match[2]) + 1 - part.size, _announced(response)
    return length > 0 and (total is None or int(match[2]) < total) and sent in (None, length)


def _same_file(response: requests.Response, record: dict[str, Any]) -> bool:
    """Whether an answer names the file that was named before: by its ETag, or else by the time of its last change."""
    for name, header in (("etag", "ETag"), ("last_modified", "Last-Modified")):
        now, before = response.headers.get(header), record.get(name)
        if now and before:
            return bool(now == before)
    return True


def retry_after_s(value: str | None) -> float | None:
    """Seconds that a ``Retry-After`` header demands; None where it says nothing that can be read.

    It holds seconds or a date. Source: RFC 9110, section 10.2.3.
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        when = parsedate_to_datetime(text)
        return max(0.0, when.timestamp() - time.time())
    except (ValueError, TypeError, IndexError, OverflowError, OSError):
        return None


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
    return f"{type(error).__name__}: {in_brief(error)}"


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
