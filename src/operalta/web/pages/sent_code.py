"""A code that was sent, as a page shows it: how long it still works, and when to offer another. For the eye alone."""

from dataclasses import dataclass
from datetime import UTC, datetime

from operalta.guard.codes import CODE_LIFETIME_SECONDS
from operalta.kernel import clock
from operalta.kernel.errors import Refusal

RESEND_SECONDS = 30
"""For so long people are asked to wait before another code is offered. What is held to is the limit."""


@dataclass(frozen=True, slots=True)
class SentCode:
    """`at` is when it was sent (Unix seconds, 0 for never); `seconds_left` may be 0: then it has run out."""

    at: int
    until: datetime
    seconds_left: int
    wait_seconds: int


def sent_code(at: int, refusal: Refusal | None = None) -> SentCode:
    """Return what is shown of a code sent `at` this time; a `refusal` to send another says how long to wait."""
    now = clock.unix_seconds()
    sent = at if 0 < at <= now else 0
    until = sent + CODE_LIFETIME_SECONDS
    usual = max(0, sent + RESEND_SECONDS - now)
    asked = 0 if refusal is None or refusal.retry_after is None else refusal.retry_after
    return SentCode(sent, datetime.fromtimestamp(until, UTC), max(0, until - now), max(usual, asked))
