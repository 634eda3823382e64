"""The check that every use-case begins with: whether the scope's role holds the permission."""

from operalta.access.rules import Denied, Permission, decide
from operalta.db.scope import Scope
from operalta.kernel.errors import NotAllowed
from operalta.terms.registry import upholds


def holds(scope: Scope, permission: Permission) -> bool:
    """Tell whether the scope's role holds `permission` in its company, and its key does where it has one."""
    actor = scope.actor
    return not isinstance(decide(actor.company_kind, actor.role, permission, actor.key_scopes), Denied)


@upholds("2.5.0", "2.5.3")
def require(scope: Scope, permission: Permission) -> None:
    """Raise NotAllowed unless the scope's role holds `permission` in its company, and its key does where it has one."""
    actor = scope.actor
    if actor.key_scopes is not None and permission not in actor.key_scopes:
        raise NotAllowed(f"This API key does not have the scope {permission}. Make one that has it.")
    if not holds(scope, permission):
        raise NotAllowed
