"""The refusals of keeping and opening secrets."""

from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, Unavailable


class SecretTooOld(Unavailable):
    """This secret is older than its kind may grow and is not used any more. Connect again, or put a fresh one in."""


class SecretTooLarge(InvalidInput):
    """This secret is empty, or larger than 64 kB. Check what was pasted."""


class SecretReplacedMeanwhile(Conflict):
    """This secret was replaced by somebody else in the same moment. Load it again before you replace it."""


class NotForThisCaller(NotAllowed):
    """This part of the product does not open secrets of this kind."""
