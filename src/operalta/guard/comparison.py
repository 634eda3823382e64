"""The one comparison of secrets, in a time that does not depend on where they differ (clause 3.2.1)."""

import hashlib
import hmac

from operalta.terms.registry import upholds


@upholds("3.2.1")
def is_same_secret(presented: str | bytes, expected: str | bytes) -> bool:
    """Tell whether two secrets, codes or digests of them are equal.

    Both are hashed with SHA-256 first: the digests have one length, so neither the place of the first
    difference nor the length of the expected secret shows in the time taken. Text is compared as UTF-8, a
    lone surrogate included, so any text that a client can send has an answer.
    """
    return hmac.compare_digest(_digest(presented), _digest(expected))


def _digest(secret: str | bytes) -> bytes:
    if isinstance(secret, str):
        secret = secret.encode("utf-8", "surrogatepass")
    return hashlib.sha256(secret).digest()
