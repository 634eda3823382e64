"""The session's cookies: `__Host-` prefixed, HttpOnly, Secure, SameSite=Lax, for the whole origin and no other."""

from dataclasses import dataclass

from operalta.terms.registry import upholds

ACCESS = "__Host-operalta-access"
REFRESH = "__Host-operalta-refresh"
DEVICE = "__Host-operalta-device"
APPEARANCE = "__Host-operalta-appearance"
WEEK_SECONDS = 7 * 24 * 3600
YEAR_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class SessionCookies:
    """The values to set. None for all three signs out; the device's cookie stays."""

    access: str | None = None
    refresh: str | None = None
    device: str | None = None


@upholds("2.3.2", "3.3.1")
def set_cookie(name: str, value: str, *, seconds: int) -> str:
    """Return a Set-Cookie header's value (RFC 6265bis section 4.1)."""
    return f"{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax"


def session_headers(cookies: SessionCookies) -> list[str]:
    """Return the Set-Cookie values for signing in, renewing or signing out."""
    if cookies.access is None or cookies.refresh is None:
        return [set_cookie(name, "", seconds=0) for name in (ACCESS, REFRESH)]
    headers = [
        set_cookie(ACCESS, cookies.access, seconds=WEEK_SECONDS),
        set_cookie(REFRESH, cookies.refresh, seconds=WEEK_SECONDS),
    ]
    if cookies.device is not None:
        headers.append(set_cookie(DEVICE, cookies.device, seconds=YEAR_SECONDS))
    return headers
