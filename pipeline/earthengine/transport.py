"""Transport: HTTP under the Earth Engine client, with a deadline for each request; reads the headers of the service.

The client takes any object with ``request`` in place of the built-in HTTP (``ee.Initialize(http_transport=...)``). The
built-in one has no deadline for an answer that trickles in, and keeps ten connections for any number of threads.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httplib2
import requests
import urllib3

from ..files.remote import is_this_machine

QUOTA_STATUS_HEADER = "x-earth-engine-quota-status"
"""What the service says of a project's quota (header that the client warns about)."""

_CONNECT_S = 30.0
_BLOCK = 1 << 20


class Transport:
    """HTTP for the Earth Engine client; threads may share it.

    Attributes:
        deadline_s: for one request, from its first byte to the last of the answer.
        quota_status: what the service said last of the project's quota; empty where it said nothing.
        server_date: ``Date`` header of the last answer.

    Args:
        connections: kept open, one for each request in flight.
    """

    def __init__(self, *, deadline_s: float, connections: int = 10) -> None:
        self.deadline_s = deadline_s
        self.quota_status = ""
        self.server_date = ""
        self._http = requests.Session()
        for scheme in ("http://", "https://"):
            self._http.mount(scheme, requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=connections))
        self._direct = requests.Session()
        self._direct.trust_env = False  # a proxy cannot reach our own machine
        self._direct.mount("http://", requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=connections))

    def request(
        self,
        uri: str,
        method: str = "GET",
        body: str | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        redirections: int | None = None,  # noqa: ARG002 - the client's name
        connection_type: type[Any] | None = None,  # noqa: ARG002 - the client's name
    ) -> tuple[httplib2.Response, bytes]:
        """One request in the manner of ``httplib2``: (response with lower-case headers and ``status``, body).

        Raises:
            ConnectionError: there is no connection, or it ended before the answer did.
            TimeoutError: the answer was not complete within the deadline.
        """
        ends_at = time.monotonic() + self.deadline_s
        http = self._direct if is_this_machine(uri) else self._http
        timeout = (min(_CONNECT_S, self.deadline_s), self.deadline_s)
        try:
            with http.request(method, uri, data=body, headers=headers, timeout=timeout, stream=True) as answer:
                self.quota_status = answer.headers.get(QUOTA_STATUS_HEADER, self.quota_status)
                self.server_date = answer.headers.get("Date", self.server_date)
                content = _body(answer, ends_at, self.deadline_s)
                response = httplib2.Response({**answer.headers, "status": answer.status_code})
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise TimeoutError(f"no answer within {self.deadline_s:g} s") from error
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            raise ConnectionError(f"the connection failed: {_innermost(error)}") from error
        return response, content


def _body(answer: requests.Response, ends_at: float, deadline_s: float) -> bytes:
    """The whole body, its coding undone; a trickle cannot outlive the deadline, a short body is no body."""
    blocks = []
    while block := answer.raw.read1(_BLOCK, decode_content=True):
        blocks.append(block)
        if time.monotonic() > ends_at:
            raise TimeoutError(f"the answer was not complete within {deadline_s:g} s")
    content = b"".join(blocks)
    announced = answer.headers.get("Content-Length", "")
    if announced.isdigit() and "Content-Encoding" not in answer.headers and len(content) < int(announced):
        raise ConnectionError(f"the answer ended after {len(content)} of {announced} bytes")
    return content


def _innermost(error: BaseException) -> str:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return f"{type(error).__name__}: {error}"
