"""Looking at integrations: what there is, never a credential."""

from uuid import UUID

from operalta.access.rules import Permission
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.vault.integrations import store
from operalta.vault.integrations.errors import NoSuchIntegration
from operalta.vault.integrations.rules import Form, Integration, Kind, Lends, ToolSeen


async def list_integrations(scope: Scope) -> tuple[Integration, ...]:
    """Return the company's integrations, by name."""
    require(scope, Permission.INTEGRATIONS_READ)
    return tuple(_integration(row) for row in await store.integrations(scope))


async def get_integration(scope: Scope, integration: UUID) -> Integration:
    """Return one integration. Raise NoSuchIntegration."""
    require(scope, Permission.INTEGRATIONS_READ)
    return (await integration_with_key_of(scope, integration))[0]


async def integration_with_key_of(scope: Scope, integration: UUID) -> tuple[Integration, UUID | None]:
    """Return one integration as it is at one moment, and the id of its credential, if it has one.

    Raise NoSuchIntegration.
    """
    rows = await store.integrations(scope, only=integration)
    if not rows:
        raise NoSuchIntegration
    return _integration(rows[0]), rows[0]["kept_id"]


def _integration(row: Row) -> Integration:
    return Integration(
        id=row["id"],
        slug=row["slug"],
        name=row["name"],
        kind=Kind(row["kind"]),
        base_url=row["base_url"],
        lends=Lends(row["lends"]),
        form=Form(row["form"]),
        header_name=row["header_name"],
        user_name=row["user_name"],
        client_id=row["oauth_client_id"],
        has_key=row["kept_id"] is not None,
        held_by_name=row["held_by_name"],
        held_at=row["held_at"],
        allows_writes=row["allows_writes"],
        is_on=row["is_on"],
        switched_by_name=row["switched_by_name"],
        switched_at=row["switched_at"],
        revision=row["revision"],
        tools_sha256=row["tools_sha256"],
        tools=tuple(ToolSeen(each["name"], each["description"]) for each in row["tools"]),
        drifted_at=row["drifted_at"],
        made_by_name=row["made_by_name"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        checked_at=row["checked_at"],
        answered_at=row["answered_at"],
        failed_at=row["failed_at"],
        failure=row["failure"],
    )
