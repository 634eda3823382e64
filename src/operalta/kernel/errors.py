"""Refusals: the ways in which the product says no.

A room derives one class for each refusal from one of the categories below. The first line of its docstring
is the public text; `web` alone maps a category to a status code. An argument given at the raise replaces the
public text, so it must be safe for anyone to read and say what to do next.
"""

import inspect
import re
from typing import ClassVar


class Refusal(Exception):  # noqa: N818 - the field's word for it; "Error" would suggest a fault of ours
    """The request was refused."""

    retry_after_seconds: ClassVar[int | None] = None

    def __init__(self, public_text: str | None = None, *, retry_after: int | None = None) -> None:
        """Hold the text that the person may read and, where waiting helps, for how many seconds."""
        self.public_text = public_text or public_text_of(type(self))
        self.retry_after = retry_after if retry_after is not None else self.retry_after_seconds
        super().__init__(self.public_text)

    @property
    def code(self) -> str:
        """The stable machine-readable name, such as `wrong_credentials`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()


def public_text_of(refusal: type[Refusal]) -> str:
    """Return the first line of a refusal's docstring."""
    return inspect.cleandoc(refusal.__doc__ or "").partition("\n")[0]


class InvalidInput(Refusal):
    """What was sent cannot be used. Correct it and send it again."""

    def __init__(self, public_text: str | None = None, *, field: str | None = None) -> None:
        """Name the `field` at fault where there is one."""
        super().__init__(public_text)
        self.field = field


class NotSignedIn(Refusal):
    """Sign in to go on."""


class NotAllowed(Refusal):
    """Your role does not permit this. Ask an administrator of the company."""


class NotFound(Refusal):
    """There is nothing here, or it is not yours to see."""


class Conflict(Refusal):
    """This was changed in the meantime. Load it again and repeat what you did."""


class TooLarge(Refusal):
    """This is larger than what is accepted."""


class LimitReached(Refusal):
    """Too many requests. Wait a little and try again."""


class Unavailable(Refusal):
    """A part that this needs is not available right now. Try again shortly."""

    retry_after_seconds = 5
