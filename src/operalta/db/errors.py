"""How the database refuses."""

from operalta.kernel.errors import NotFound, NotSignedIn, Unavailable


class SessionEnded(NotSignedIn):
    """Your session has ended. Sign in again."""


class KeyRefused(NotSignedIn):
    """This API key opens nothing: it is wrong, revoked, expired, or not for the address that you call from."""


class NoSuchCompany(NotFound):
    """There is no such company, or you are not a member of it."""


class DatabaseOutOfReach(Unavailable):
    """The database does not answer right now. Try again shortly."""


class ClaimLost(Exception):  # noqa: N818 - it ends a worker's attempt, nobody is refused anything
    """The run's claim is gone: another worker has it, it was stopped, or its person lost the membership."""


class SchemaFromTheFuture(Exception):  # noqa: N818 - read by the operator as a sentence
    """A newer release has migrated this database."""


class NotMigrated(Exception):  # noqa: N818 - read by the operator as a sentence
    """The database holds nothing of ours yet."""


class PolicyGaps(Exception):  # noqa: N818 - read by the operator as a sentence
    """The policy check found gaps; the message lists them."""
