"""How connections refuse. No text holds anything that a provider wrote."""

from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, NotFound, TooLarge, Unavailable


class NoSuchClient(NotFound):
    """There is no such registration at a provider here. It may have been removed: look at the list."""


class NoSuchConnection(NotFound):
    """There is no such connection of yours. It may have been revoked: look at the list."""


class ConnectingFailed(NotAllowed):
    """This connection was not begun here, or it has taken longer than ten minutes. Begin again from Integrations."""


class ConsentRefused(NotAllowed):
    """The provider did not give access. Begin again from Integrations, and agree there."""


class WrongIssuer(NotAllowed):
    """The answer came from another provider than the one that was asked, so it was not used. Begin again."""


class ProviderUnusable(InvalidInput):
    """This provider cannot be used. Check its address; it must publish metadata and verify PKCE with S256."""


class ProviderAway(Unavailable):
    """The provider does not answer as it should right now. Try again in a few minutes."""

    retry_after_seconds = 60


class ProviderRefused(NotAllowed):
    """The provider refused. Check client id, secret and redirect address there, then begin again."""


class AnswerUnusable(Unavailable):
    """The provider's answer cannot be used. Try again later; if it stays so, check the registration there."""


class ConnectionBroken(Conflict):
    """The provider no longer accepts this connection. Connect it again from Integrations."""


class RefreshUnderWay(Unavailable):
    """This connection is being refreshed. Try again in a few seconds."""

    retry_after_seconds = 5


class TooManyConnections(TooLarge):
    """There is no room for more of these. Revoke or remove one that is no longer needed."""


class ClientExists(Conflict):
    """This provider is registered already. Change that registration, or remove it first."""


class HostNotOfProvider(NotAllowed):
    """This token may only be sent to its provider's own addresses."""
