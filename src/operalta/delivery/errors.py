"""How delivery fails, as the queue and the logs see it. Nobody is refused anything."""


class MailDelayed(Exception):  # noqa: N818 - says what happened
    """The relay did not take the message this time. The queue tries again."""


class MailRefused(Exception):  # noqa: N818 - says what happened
    """The relay refuses this message for good, or its address is none."""
