"""The refusals of the guard room."""

from operalta.guard.rules import Decision
from operalta.kernel.errors import InvalidInput, LimitReached, Unavailable


class TooManyRequests(LimitReached):
    """Too many requests. Wait for the time given and try again."""

    def __init__(self, decision: Decision) -> None:
        """Carry the decision, from which the answer's headers are made."""
        super().__init__(retry_after=decision.retry_after)
        self.decision = decision


class LimiterUnavailable(Unavailable):
    """This cannot be checked right now, so it was not let through. Try again shortly."""


class UnknownAddress(Unavailable):
    """The address of the caller could not be told, so the request was not let through."""


class PhoneNotInternational(InvalidInput):
    """Give a complete phone number with its country code, such as +41 79 555 01 23."""
