"""The session's cookies: `__Host-` prefixed, HttpOnly, Secure, SameSite=Lax, for the whole origin and no other."""

from dataclasses import dataclass

from operalta.terms.registry import upholds

ACCESS = "__Host-operalta-access"
REFRESH = "__Host-operalta-refresh"
DEVICE = "__Host-operalta-device"
TICKET = "__Host-operalta-ticket"
APPEARANCE = "__Host-operalta-appearance"
TICKET_SECONDS = 15 * 60
WEEK_SECONDS = 7 * 24 * 3600
YEAR_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class SessionCookies:
    """The values to set. With a ticket or a device alone the session stays what it is; with nothing, it ends."""

    access: str | None = None
    refresh: str | None = None
    device: str | None = None
    ticket: str | None = None


@upholds("2.3.2", "3.3.1")
def set_cookie(name: str, value: str, *, seconds: int) -> str:
    """Return a Set-Cookie header's value (RFC 6265bis section 4.1)."""
    return f"{name}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax"


def session_headers(cookies: SessionCookies) -> list[str]:
    """Return the Set-Cookie values for signing in, the step before it, knowing a device, renewing or signing out."""
    device = [] if cookies.device is None else [set_cookie(DEVICE, cookies.device, seconds=YEAR_SECONDS)]
    if cookies.access is not None and cookies.refresh is not None:
        return [
            set_cookie(ACCESS, cookies.access, seconds=WEEK_SECONDS),
            set_cookie(REFRESH, cookies.refresh, seconds=WEEK_SECONDS),
            *device,
        ]
    if cookies.ticket is not None:
        return [set_cookie(TICKET, cookies.ticket, seconds=TICKET_SECONDS), *device]
    return device or [set_cookie(name, "", seconds=0) for name in (ACCESS, REFRESH, TICKET)]
