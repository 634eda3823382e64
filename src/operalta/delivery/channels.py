"""What a way for messages to leave must do; the relay for mail and the provider for SMS each are one."""

from typing import Protocol

from operalta.delivery.errors import DeliveryRefused
from operalta.delivery.rules import Message
from operalta.delivery.texts import Text


class Channel(Protocol):
    """A way for finished messages to leave."""

    async def send(self, message: Message, text: Text) -> str | None:
        """Hand a message over; return what its carrier calls it, where the carrier tells of it later.

        Raise DeliveryRefused where it can never be taken, DeliveryDelayed where it was not this time.
        """
        ...


class NoChannel:
    """What stands where a deployment has no way for such messages: each of them has failed."""

    async def send(self, message: Message, text: Text) -> str | None:
        """Raise DeliveryRefused."""
        del message, text
        raise DeliveryRefused("this deployment has no way to send it")
