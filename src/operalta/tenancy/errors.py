"""How the tenancy room refuses."""

from operalta.kernel.errors import Conflict, NotAllowed, NotFound


class MayNotFound(NotAllowed):
    """You cannot found a company here yet. Verify your e-mail address, or ask the operator for a company."""


class NoSuchMember(NotFound):
    """There is no such member in this company."""


class NoSuchInvitation(NotFound):
    """There is no such open invitation. It may have been accepted, revoked, or have expired: invite again."""


class InvitationSpent(NotFound):
    """This invitation does not hold for your account. Sign in with the address it was sent to, or ask for a new one."""


class AlreadyMember(Conflict):
    """This address belongs to a member of the company already. Change their role instead."""


class AlreadyInvited(Conflict):
    """This address has an open invitation. Send it again, or revoke it first."""


class RoleAboveYours(NotAllowed):
    """This role may do more than yours. Ask someone who holds it."""


class NotOneself(NotAllowed):
    """Nobody changes their own membership here. Ask another founder, or leave the company."""


class CannotVisit(NotFound):
    """This company cannot be visited in this role. Look it up again; where you are a member, no visit is needed."""


class NoSuchVisit(NotFound):
    """There is no such visit that is open. It may have ended by itself."""


class CannotHandOver(Conflict):
    """The company cannot be handed over like this. Only a founder does it, and takes a lesser role."""


class LastFounder(Conflict):
    """A company keeps at least one founder. Make somebody else a founder first."""
