"""How API keys refuse."""

from operalta.kernel.errors import Conflict, NotFound


class NoSuchKey(NotFound):
    """There is no such API key that you may manage. It may have been revoked, or have expired."""


class TooManyKeys(Conflict):
    """There are too many live API keys. Revoke one that is not used."""


class KeyNotTyped(Conflict):
    """Type the beginning of the key as it is shown, to confirm that it is this one."""
