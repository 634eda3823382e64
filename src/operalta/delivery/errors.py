"""How delivery fails, as the queue and the logs see it; and the one refusal, of a receipt that nobody signed."""

from operalta.kernel.errors import NotAllowed


class DeliveryDelayed(Exception):  # noqa: N818 - says what happened
    """The message was not taken this time. The queue tries again."""


class DeliveryRefused(Exception):  # noqa: N818 - says what happened
    """The message is refused for good, or its address is none."""


class ReceiptRefused(NotAllowed):
    """This was not accepted."""
