"""How the audit room refuses."""

from operalta.kernel.errors import InvalidInput


class UnreadableQuery(InvalidInput):
    """Write a search such as actor:ada action:memory. outcome:refused created:>2026-01-31."""


class UnreadableCursor(InvalidInput):
    """This page of the list cannot be found. Begin at the first one."""


class TreeDiffers(RuntimeError):  # noqa: N818 - says what is wrong
    """The stored tree no longer leads to its own last head, so nothing is sealed on top of it."""
