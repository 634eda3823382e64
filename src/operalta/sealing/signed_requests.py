"""Signing requests to AWS: Signature Version 4, for what a key service is sent (a POST with a body to one path).

Source: AWS General Reference, "Signing AWS API requests"; the tests hold it against AWS's own examples.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What identifies the caller. `session_token` comes with temporary credentials alone."""

    access_key: str
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SignedPlace:
    """Which service of which region a signature is for."""

    region: str
    service: str


def signed_headers(
    credentials: Credentials,
    place: SignedPlace,
    *,
    method: str,
    path: str,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime,
    query: str = "",
) -> dict[str, str]:
    """Return `headers` with the date, the token where there is one, and the signature over all of them.

    Names are lower case and `host` is among them. `path` and `query` are in canonical form; `now` is aware.
    """
    moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    complete = {**headers, "x-amz-date": moment}
    if credentials.session_token is not None:
        complete["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(complete))
    listed = "".join(f"{name}:{' '.join(complete[name].split())}\n" for name in sorted(complete))
    request = "\n".join((method, path, query, listed, names, hashlib.sha256(body).hexdigest()))
    scope = f"{moment[:8]}/{place.region}/{place.service}/aws4_request"
    text = "\n".join((_ALGORITHM, moment, scope, hashlib.sha256(request.encode()).hexdigest()))
    signature = hmac.digest(signing_key(credentials.secret_key, moment[:8], place), text.encode(), "sha256").hex()
    complete["authorization"] = (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return complete


def signing_key(secret_key: str, day: str, place: SignedPlace) -> bytes:
    """Return the key of one day (`20150830`), region and service."""
    key = b"AWS4" + secret_key.encode()
    for part in (day, place.region, place.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
