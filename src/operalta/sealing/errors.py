"""The refusals of the sealing room."""

from operalta.kernel.errors import NotFound, Unavailable


class CannotOpen(Unavailable):
    """A stored secret cannot be opened. Store it again, or ask the operator to look at the keys."""


class Tampered(CannotOpen):
    """A stored secret was altered and is not used. Store it again, and tell the operator."""


class WrongPlace(CannotOpen):
    """A stored secret belongs to another place and is not used. Store it again, and tell the operator."""


class CompanyKeyGone(NotFound):
    """The key of this company was dropped, so its stored secrets are gone for good."""


class KeyFileExposed(CannotOpen):
    """A key file can be read or changed by others. The operator must run `chmod 600` on it."""


class KeyFileDamaged(CannotOpen):
    """A key file is damaged or was altered. The operator must restore it from a backup."""


class RootKeyUnusable(CannotOpen):
    """The root key is missing or malformed. The operator must provide 32 random bytes as base64."""


class KeyServiceRefused(RootKeyUnusable):
    """The key service does not give the root key. The operator must look at its settings and its own log."""


class KeyServiceSilent(RootKeyUnusable):
    """The key service does not answer. Try again shortly; the operator must look at the network."""


class CannotRotateHere(CannotOpen):
    """A root key in the environment is changed there. See `docs/keys.md`, then run `operalta keys rewrap`."""


class UnusableKey(Unavailable):
    """A signing key cannot be used as it is. The operator must replace it."""


class BadSignature(Unavailable):
    """A signature does not hold."""
