"""Faults: what went wrong with one request to Earth Engine, and what that means for the tile and the run.

Pure: an exception of the client goes in, a verdict comes out. The client gives text only; code and headers are found in
the exception's context (documented nowhere, seen in the client's source).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ee
import google.auth.exceptions

from ..files.downloads import retry_after_s

Kind = Literal["retry", "slow-down", "overload", "refused", "bad-answer", "authentication", "quota"]


# HTTP 400 with one of these texts (users report them so: geemap issues 1465 and 1790).
_OVERLOAD_TEXTS = ("memory limit", "memory capacity", "timed out", "too many concurrent aggregations")


@dataclass(frozen=True)
class Fault:
    """What went wrong with one request.

    Attributes:
        kind: ``retry`` may pass by itself; ``slow-down`` is a quota of requests; ``overload`` is a request too
            heavy for the server as it is now; ``refused`` stays so for this tile; ``bad-answer`` is a 200 with
            something else in it; ``authentication`` and ``quota`` stop the run.
        message: in the service's words, one line.
        retry_after_s: the wait that the service demands, if any.
    """

    kind: Kind
    message: str
    retry_after_s: float | None = None


def fault_of(error: Exception) -> Fault:
    """Classify a failure of the client: whether it may pass, will not pass, or must stop the run."""
    cause = error.__context__ if isinstance(error, ee.EEException) else None
    response = getattr(cause, "resp", None)
    message = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, google.auth.exceptions.TransportError):
        return Fault("retry", message)
    if isinstance(error, google.auth.exceptions.GoogleAuthError):
        return Fault("authentication", message)
    if isinstance(error, (ValueError, TypeError, KeyError, EOFError)):
        return Fault("bad-answer", f"the answer does not match the request: {message}")
    if response is None:
        return Fault("retry", f"{type(error).__name__}: {message}")
    status = int(response.status)
    wait_s = retry_after_s(response.get("retry-after"))
    if status == 429 or (
        status == 403 and b"ratelimitexceeded" in bytes(getattr(cause, "content", b"") or b"").lower()
    ):
        return Fault("slow-down", message, wait_s)
    if status in (401, 403):
        return Fault("quota" if _is_of_a_quota(message) else "authentication", message)
    # 501 says that the server does not know the function; anything else above 500, and a late request, may pass.
    if status == 408 or (status >= 500 and status != 501):
        return Fault("retry", f"HTTP {status}: {message}", wait_s)
    if any(text in message.lower() for text in _OVERLOAD_TEXTS):
        return Fault("overload", message)
    return Fault("refused", f"HTTP {status}: {message}")


def _is_of_a_quota(message: str) -> bool:
    """Whether a refusal is about a quota that is used up, not about a "quota project" that credentials lack."""
    return "quota" in message.lower().replace("quota project", "").replace("quota_project", "")
