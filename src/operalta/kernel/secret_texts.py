"""What a secret's text says about it: the profile that it was made for, and whether somebody could guess it. Pure."""

import itertools
import re
import zlib

SHORTEST_BYTES = 32
MARKS = ("local", "production")
"""The profiles; a secret that the product makes begins with one of these and an underscore, wherever it is copied."""

_FEWEST_DISTINCT = 10
_MOST_COMPRESSED = 0.5  # what hexadecimal digits come to by themselves
_MOST_IN_ORDER = 0.5
_SAMPLES = re.compile(
    rb"change[-_ ]?me|password|example|placeholder|insecure|development|replace[-_ ]?(me|this|with)|your[-_ ]|"
    rb"default|postgres|deadbeef|qwerty|0123456789|abcdefgh",
    re.IGNORECASE,
)


def split_mark(secret: bytes) -> tuple[str | None, bytes]:
    """Return the profile that a secret was made for, None where it does not say, and what follows its mark."""
    for mark in MARKS:
        if secret.startswith(mark.encode() + b"_"):
            return mark, secret[len(mark) + 1 :]
    return None, secret


def marked(profile: str, secret: bytes) -> bytes:
    """Return a secret with the mark of the profile that it is for."""
    return profile.encode() + b"_" + secret


def weakness(secret: bytes, shortest: int = SHORTEST_BYTES) -> str | None:
    """Return why a secret could be guessed, or None: too short, a sample, repeated, or in an order.

    It cannot tell that a secret is random, only that it is one of the usual ones that are not.
    """
    plain = split_mark(secret)[1]
    if len(plain) < shortest:
        return f"it needs at least {shortest} bytes"
    if _SAMPLES.search(plain):
        return "it holds a word of samples and defaults"
    if len(set(plain)) < min(_FEWEST_DISTINCT, shortest // 3):
        return "it is made of a few characters again and again"
    if len(zlib.compress(plain, 9)) < len(plain) * _MOST_COMPRESSED:
        return "it repeats itself"
    in_order = sum(second - first in {-1, 0, 1} for first, second in itertools.pairwise(plain))
    return "its characters stand in an order" if in_order > len(plain) * _MOST_IN_ORDER else None
