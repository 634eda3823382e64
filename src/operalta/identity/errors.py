"""How the identity room refuses. The texts are the same for known and unknown people (clause 7.3.2)."""

from operalta.kernel.errors import Conflict, InvalidInput, LimitReached, NotAllowed, NotFound, NotSignedIn, Unavailable


class WrongCredentials(NotSignedIn):
    """The e-mail address or the password is not right. Try again, or reset the password."""


class WrongPassword(InvalidInput):
    """The present password is not right. Nothing was changed."""


class LinkSpent(NotFound):
    """This link does not hold: it was used, has expired, or is not complete. Ask for a new one."""


class AddressHasAccount(InvalidInput):
    """This address has an account already. Sign in with it, then open the link again."""


class SignUpClosed(NotAllowed):
    """Accounts are by invitation here. Ask a company you work with to invite you."""


class NoSuchSession(NotFound):
    """This session is over already, or it is not yours."""


class TicketOver(NotSignedIn):
    """This sign-in has taken too long, or was not begun here. Start again with your address and password."""


class WrongCode(InvalidInput):
    """This code is not right, was used before, or has expired. Ask for a new one after three tries."""


class WayPaused(NotAllowed):
    """Too many wrong codes were tried, so this way is paused on new devices. Use the link we mailed, or another way."""


class NotProved(NotAllowed):
    """Confirm first that it is you, then repeat this. It holds for ten minutes."""


class NoSuchFactor(NotFound):
    """You have no such way to prove that it is you, or it was removed already."""


class CannotEnrol(Conflict):
    """This cannot be added: it is there already, or you have as many as one person may have."""


class PasskeyRefused(InvalidInput):
    """The passkey's answer does not hold. Try again, or use another way."""


class SmsNotOffered(NotAllowed):
    """Codes by SMS are not offered here. Use an authenticator app or a passkey."""


class CountryNotServed(InvalidInput):
    """No codes are sent to this country. Use a number of another country, an authenticator app or a passkey."""


class NotAMobileNumber(InvalidInput):
    """No codes can be sent to this kind of number. Use the number of a mobile phone."""


class SendingPaused(Unavailable):
    """No codes can be sent to new numbers of this country right now. Use an authenticator app or a passkey."""

    retry_after_seconds = 3600


class TooManyCodes(LimitReached):
    """Many codes were asked for. Try again later, or use an authenticator app or a passkey."""

    retry_after_seconds = 3600
