"""The one place where the application reads the time.

What expires is decided by the database's clock; this one serves signatures, headers and logs. Tests of
pure rules pass a time in; nothing in the product lets time be moved from outside.
"""

from datetime import UTC, datetime


def now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


def unix_seconds() -> int:
    """Return whole seconds since 1970, as in a JWT's `iat` and `exp` (RFC 7519 section 2)."""
    return int(now().timestamp())
