"""Service accounts and tokens: a fresh key at each start, and the OAuth exchange that the client makes with it.

Source of the exchange: https://developers.google.com/identity/protocols/oauth2/service-account#httprest (JWT bearer).
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from typing import Any
from urllib.parse import parse_qs

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt

from .refusal import Refusal

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"

GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
"""google-auth puts this into its assertions, whatever the ``token_uri`` of the key."""


class InvalidGrantError(Exception):
    """An assertion that gets no token."""

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
        self._expiry: dict[str, float] = {self.admin_token: float("inf")}

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
        try:
            claims = jwt.decode(form["assertion"][0], certs=self._public, audience=[self._token_uri, GOOGLE_AUDIENCE])
        except ValueError as error:
            raise InvalidGrantError(str(error)) from None
        if claims.get("iss") != self._email:
            raise InvalidGrantError("invalid issuer")
        token, now = secrets.token_urlsafe(32), time.monotonic()
        with self._lock:
            self._expiry = {known: expiry for known, expiry in self._expiry.items() if expiry > now}
            self._expiry[token] = now + self._token_s
        return {"access_token": token, "expires_in": max(int(self._token_s), 1), "token_type": "Bearer"}

    def check(self, authorization: str | None) -> None:
        """Let a request through.

        Raises:
            Refusal: 401, its token is missing, unknown or expired.
        """
        token = (authorization or "").removeprefix("Bearer ")
        with self._lock:
            good = (authorization or "").startswith("Bearer ") and self._expiry.get(token, 0.0) > time.monotonic()
        if not good:
            raise Refusal(
                "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other "
                "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
                401,
            )
