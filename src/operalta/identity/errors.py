"""How the identity room refuses. The texts are the same for known and unknown people (clause 7.3.2)."""

from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound, NotSignedIn


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
