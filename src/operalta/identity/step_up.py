"""Step-up: which operations ask for a recent proof that it is still the same person, and the check itself.

A session counts as proved for ten minutes after it proved a second factor; where the person has none, after the
password. The database decides, by its own clock (`identity.is_proved`); the functions that change passwords and factors
check it there once more.
"""

from enum import StrEnum

from operalta.db.scope import Scope
from operalta.identity import store
from operalta.identity.errors import NotProved
from operalta.terms.registry import upholds


class SensitiveOperation(StrEnum):
    """Everything that a session has to have proved itself for. This is the one list."""

    CHANGE_PASSWORD = "change the password"  # noqa: S105 - the name of an operation
    ENROL_FACTOR = "add a second factor"
    REMOVE_FACTOR = "remove a second factor"
    REPLACE_RECOVERY_CODES = "replace the recovery codes"
    INVITE_MANAGER = "invite somebody who manages members"
    CHANGE_ROLE = "change a member's role"
    REMOVE_MEMBER = "remove a member"
    TRANSFER_OWNERSHIP = "hand the company over"
    VISIT_AS_STAFF = "visit a company as staff"
    CHANGE_AGENT_TOOLS = "change what an agent may use"
    MAKE_API_KEY = "make an API key"
    ROTATE_API_KEY = "give an API key another secret"
    REGISTER_CLIENT = "change a registration at a provider"
    CONNECT_ACCOUNT = "connect an account"
    MAKE_WEBHOOK = "make or change a webhook"
    ROTATE_WEBHOOK = "give a webhook another secret"
    CHANGE_INTEGRATION = "make or change an integration"
    ALLOW_MODEL_ROUTES = "allow a model route"
    CHANGE_APPROVAL_RULES = "change who decides about agents' calls"


@upholds("2.2.3")
async def require_recent_proof(scope: Scope, operation: SensitiveOperation) -> None:
    """Raise NotProved unless the scope's session proved itself in the last ten minutes. Agents never have."""
    if not await store.is_recently_proved(scope):
        raise NotProved(f"To {operation.value}, confirm first that it is you. It holds for ten minutes.")


async def is_recently_proved(scope: Scope) -> bool:
    """Tell whether the scope's session proved itself in the last ten minutes."""
    return await store.is_recently_proved(scope)
