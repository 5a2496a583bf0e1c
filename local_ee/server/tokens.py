"""Service accounts and tokens: a fresh key at each start, and the OAuth exchange that the client makes with it.

Source of the exchange: https://developers.google.com/identity/protocols/oauth2/service-account#httprest (JWT bearer).
"""

from __future__ import annotations

import hmac
import json
import math
import secrets
import threading
import time
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from ..refusal import Refusal

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"

GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
"""google-auth puts this into its assertions, whatever the ``token_uri`` of the key."""

MAX_TOKENS = 256
"""Tokens that are good at a time; the oldest go first. Each client process has one or two."""


class InvalidGrantError(Exception):
    """An assertion for which no token is issued."""

    @property
    def body(self) -> bytes:
        """In OAuth's own shape. Source: RFC 6749, section 5.2."""
        return json.dumps({"error": "invalid_grant", "error_description": str(self)}).encode()


class Account:
    """The one service account of a server, and the tokens it has been given.

    Args:
        url: address of the server.
        project: id of its project.
        token_s: how long a token is good for, seconds.
    """

    def __init__(self, url: str, project: str, token_s: float = 3600.0) -> None:
        self._token_uri = f"{url}/token"
        self._project, self._token_s = project, token_s
        self._email = f"local@{project}.iam.gserviceaccount.com"
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._public = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self._lock = threading.Lock()
        self.admin_token = secrets.token_urlsafe(32)
        self._expiry: dict[str, float] = {}

    def key_file(self) -> str:
        """The key as the JSON file that Google's libraries read."""
        private = self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return json.dumps(
            {
                "type": "service_account",
                "project_id": self._project,
                "private_key_id": "local",
                "private_key": private.decode(),
                "client_email": self._email,
                "client_id": "0",
                "token_uri": self._token_uri,
            }
        )

    def exchange(self, body: bytes) -> dict[str, Any]:
        """A token for a signed assertion.

        Raises:
            InvalidGrantError: the assertion is not signed with this server's key, or out of date.
        """
        form = parse_qs(body.decode("ascii", "replace"))
        if form.get("grant_type") != [GRANT] or len(form.get("assertion", ())) != 1:
            raise InvalidGrantError("the grant is not a JWT bearer assertion")
        claims = self._claims(form["assertion"][0])
        if claims.get("iss") != self._email:
            raise InvalidGrantError("invalid issuer")
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            good = [item for item in self._expiry.items() if item[1] > now]
            self._expiry = dict(good[-(MAX_TOKENS - 1) :]) | {token: now + self._token_s}
        return {"access_token": token, "expires_in": max(int(self._token_s), 1), "token_type": "Bearer"}

    def _claims(self, assertion: str) -> dict[str, Any]:
        """What an assertion says, once its signature, time and audience are verified."""
        try:
            if jwt.decode_header(assertion).get("alg") != "RS256":  # the key is RSA, whatever an assertion says
                raise InvalidGrantError("the assertion is not signed with RS256")
            claims = jwt.decode(assertion, certs=self._public, audience=[self._token_uri, GOOGLE_AUDIENCE])
        except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as error:
            raise InvalidGrantError(str(error)) from None
        return dict(claims)

    def check(self, authorization: str | None) -> None:
        """Let a request through.

        Raises:
            Refusal: 401, its token is missing, unknown or expired.
        """
        scheme, _, token = (authorization or "").partition(" ")
        given, now = token.encode("utf-8", "replace"), time.monotonic()
        with self._lock:
            known = [(self.admin_token, math.inf), *self._expiry.items()]
        # All are compared, each in constant time: how long it takes tells nothing about any of them.
        matches = [hmac.compare_digest(given, name.encode()) and expiry > now for name, expiry in known]
        if scheme != "Bearer" or not any(matches):
            raise Refusal(
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
                401,
            )
