"""One-time codes of six digits, and the only form in which they are kept (clauses 2.2.2, 2.2.5 and 3.2.2)."""

import hashlib
import hmac
import re
import secrets
from uuid import UUID

from operalta.terms.registry import upholds

CODE_DIGITS = 6
CODE_LIFETIME_SECONDS = 600
"""The database counts it, from the moment the sender made the code."""
_CODE = re.compile(rf"[0-9]{{{CODE_DIGITS}}}", re.ASCII)
_SMALLEST_KEY_BYTES = 32


@upholds("2.2.2")
def new_code() -> str:
    """Return a fresh code, each of the million equally likely."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


@upholds("2.2.5", "3.2.2")
def code_digest(key: bytes, row: UUID, code: str) -> bytes:
    """Return the HMAC-SHA-256 under which a code is kept.

    `key` (32 bytes or more) is not in the database: a million codes are searched in a second without it. `row` names
    the row the code belongs to, so a digest copied to another person, session or purpose fits nothing there.
    """
    if len(key) < _SMALLEST_KEY_BYTES:
        raise ValueError("the key of codes needs at least 32 bytes")
    return hmac.new(key, row.bytes + code.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def typed_code(typed: str) -> str | None:
    """Return the code in what was typed: spaces and hyphens between the digits are dropped. None: it is no code."""
    plain = re.sub(r"[\s-]", "", typed)
    return plain if _CODE.fullmatch(plain) else None
