"""Refusal: an answer of the local Earth Engine that is an error, in the shape of Google's API errors."""

from __future__ import annotations

import json
from typing import Any

STATUS_NAMES: dict[int, str] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
"""HTTP code -> status word. Source: https://cloud.google.com/apis/design/errors (the words, not all of the codes)."""


class Refusal(Exception):  # noqa: N818  (an answer, not an accident)
    """A request that is not answered, with the HTTP code and the sentence that the client shows.

    Attributes:
        code: HTTP code.
        message: what the client raises as ``EEException``.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.code = code

    @property
    def body(self) -> bytes:
        """``{"error": {"code", "message", "status"}}`` as JSON."""
        return error_body(self.code, self.message)


def error_body(code: int, message: str) -> bytes:
    error: dict[str, Any] = {"code": code, "message": message, "status": STATUS_NAMES.get(code, "UNKNOWN")}
    return json.dumps({"error": error}).encode()


def not_built(what: str) -> Refusal:
    """501 for something that Earth Engine knows and this server does not: never a guess."""
    return Refusal(f"{what} is not implemented by the local Earth Engine.", code=501)
