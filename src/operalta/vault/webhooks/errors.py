"""How webhooks refuse."""

from operalta.kernel.errors import Conflict, InvalidInput, NotFound, NotSignedIn, TooLarge


class NoSuchWebhook(NotFound):
    """There is no such webhook here. It may have been removed: look at the list."""


class NoSuchDelivery(NotFound):
    """There is nothing here that could be sent again. It may have been delivered, or forgotten after thirty days."""


class TooManyWebhooks(TooLarge):
    """There are twenty of these already. Remove one that is no longer needed."""


class WebhookIsOff(Conflict):
    """This webhook is off, so nothing is sent. Switch it on first."""


class SecretMissing(Conflict):
    """Nothing could be checked without a secret. Give this address the secret of its sender first."""


class RotateFirst(Conflict):
    """Somebody who has seen its secret may no longer manage integrations here. Give it another secret first."""


class NoSuchHook(NotFound):
    """There is nothing here."""


class SignatureRefused(NotSignedIn):
    """The signature of this message is not right."""


class NotJson(InvalidInput):
    """Only JSON is taken here. Have the sender send application/json."""
