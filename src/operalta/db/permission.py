"""The check that every use-case begins with: whether the scope's role holds the permission."""

from operalta.access.rules import Denied, Permission, decide
from operalta.db.scope import Scope
from operalta.kernel.errors import NotAllowed
from operalta.terms.registry import upholds


@upholds("2.5.0", "2.5.3")
def require(scope: Scope, permission: Permission) -> None:
    """Raise NotAllowed unless the scope's role in its company holds `permission`."""
    if isinstance(decide(scope.actor.company_kind, scope.actor.role, permission), Denied):
        raise NotAllowed
