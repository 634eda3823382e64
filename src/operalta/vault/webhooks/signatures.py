"""Signatures of webhooks, ours and those of four schemes that others use. Pure, and in constant time.

Ours follow Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA-256 over `id.timestamp.body`. The forms of
GitHub, Stripe and Slack are as these describe them. Whatever is malformed is simply not signed: nothing here raises.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from operalta.guard.comparison import is_same_secret
from operalta.terms.registry import upholds

PREFIX = "whsec_"
TOLERANCE_SECONDS = 300
"""How far the sender's clock, and the way here, may be off in either direction."""

MOST_SIGNATURES = 10
_ID = re.compile(r"[!-~]{1,256}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")
_HEX = re.compile(r"[0-9a-f]{64}")


class Scheme(StrEnum):
    """How what comes in is signed; the words are the database's."""

    STANDARD = "standard"
    GITHUB = "github"
    STRIPE = "stripe"
    SLACK = "slack"


@dataclass(frozen=True, slots=True)
class Verified:
    """A message whose signature is right. `identity` is the digest by which it is known when it comes again."""

    identity: bytes


def key_of(secret: bytes) -> bytes:
    """Return the key that a `whsec_…` text stands for: what its base64 holds. Empty where it holds none."""
    text = secret.removeprefix(PREFIX.encode())
    try:
        return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return b""


def sign(secret: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return one signature of a message in the form `v1,…`. Raise ValueError for a secret that holds no key."""
    key = key_of(secret)
    if not key:
        raise ValueError("a signing secret holds base64")
    return f"v1,{base64.b64encode(_mac(key, f'{message_id}.{timestamp}.'.encode() + body)).decode('ascii')}"


def signed_headers(secrets: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the header fields of a message, signed with each of `secrets`: two while one takes over from the other."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(sign(secret, message_id, timestamp, body) for secret in secrets),
    }


@upholds("7.2.2")
def verify(
    scheme: Scheme, secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: int
) -> Verified | None:
    """Return the message where one of `secrets` has signed it, else None. `headers` are found without regard to case.

    What the sender gives as its id is relied on only where the signature covers it; else the body itself is the
    identity, so that a copy with another id is known all the same.
    """
    match scheme:
        case Scheme.STANDARD:
            return _standard(secrets, headers, body, now)
        case Scheme.GITHUB:
            given = headers.get("x-hub-signature-256", "").removeprefix("sha256=")
            return _by_body(secrets, body, [given], body)
        case Scheme.STRIPE:
            return _stripe(secrets, headers.get("stripe-signature", ""), body, now)
        case Scheme.SLACK:
            timestamp = headers.get("x-slack-request-timestamp", "")
            given = headers.get("x-slack-signature", "").removeprefix("v0=")
            if not _is_near(timestamp, now):
                return None
            return _by_body(secrets, f"v0:{timestamp}:".encode() + body, [given], body)


def _standard(secrets: Sequence[bytes], headers: Mapping[str, str], body: bytes, now: int) -> Verified | None:
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not _ID.fullmatch(message_id) or not _is_near(timestamp, now):
        return None
    signed = f"{message_id}.{timestamp}.".encode() + body
    given = [
        signature.removeprefix("v1,")
        for signature in headers.get("webhook-signature", "").split(" ")[:MOST_SIGNATURES]
        if signature.startswith("v1,")
    ]
    # Every pair is compared, whatever the others were.
    matches = [
        is_same_secret(signature, base64.b64encode(_mac(key_of(secret), signed)))
        for secret in secrets
        if key_of(secret)
        for signature in given
    ]
    return Verified(hashlib.sha256(b"id:" + message_id.encode()).digest()) if any(matches) else None


def _stripe(secrets: Sequence[bytes], header: str, body: bytes, now: int) -> Verified | None:
    fields = [field.strip().partition("=")[::2] for field in header.split(",")[: MOST_SIGNATURES + 1]]
    timestamps = [value for name, value in fields if name == "t"]
    if len(timestamps) != 1 or not _is_near(timestamps[0], now):
        return None
    given = [value for name, value in fields if name == "v1"]
    return _by_body(secrets, f"{timestamps[0]}.".encode() + body, given, body)


def _by_body(secrets: Sequence[bytes], signed: bytes, given: Sequence[str], body: bytes) -> Verified | None:
    matches = [
        is_same_secret(signature, _mac(secret, signed).hex())
        for secret in secrets
        if secret
        for signature in given
        if _HEX.fullmatch(signature)
    ]
    return Verified(hashlib.sha256(b"body:" + body).digest()) if any(matches) else None


def _is_near(timestamp: str, now: int) -> bool:
    return _TIMESTAMP.fullmatch(timestamp) is not None and abs(now - int(timestamp)) <= TOLERANCE_SECONDS


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256")
