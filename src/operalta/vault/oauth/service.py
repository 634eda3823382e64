"""Looking at connections and ending them."""

from uuid import UUID

from operalta.access.rules import Permission
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.sandbox.destinations import check_destination, parse_destination
from operalta.sandbox.egress import ALLOW_LISTED, EgressPolicy
from operalta.sandbox.errors import DestinationRefused
from operalta.terms.registry import upholds
from operalta.vault.oauth import store
from operalta.vault.oauth.errors import HostNotOfProvider, NoSuchConnection
from operalta.vault.oauth.providers import Provider
from operalta.vault.oauth.registrations import definition_of
from operalta.vault.oauth.rules import Connection, Status


async def list_connections(scope: Scope) -> tuple[Connection, ...]:
    """Return the company's connections, those revoked in the last thirty days too; never a token."""
    require(scope, Permission.INTEGRATIONS_READ)
    return tuple(_connection(scope, row) for row in await store.connections(scope))


async def get_connection(scope: Scope, connection: UUID) -> Connection:
    """Return one connection. Raise NoSuchConnection."""
    require(scope, Permission.INTEGRATIONS_READ)
    rows = await store.connections(scope, only=connection)
    if not rows:
        raise NoSuchConnection
    return _connection(scope, rows[0])


@upholds("1.3.1", "1.3.4", "5.5.3")
async def revoke(scope: Scope, connection: UUID) -> None:
    """End a connection here, at once; its provider is told by the worker, again and again where it does not answer.

    One's own, or anybody's for whoever manages integrations. Raise NoSuchConnection. No recent proof is asked for: to
    end something must never be made hard.
    """
    require(scope, Permission.INTEGRATIONS_CONNECT)
    if not await store.revoke(scope, connection):
        raise NoSuchConnection


@upholds("7.2.2")
def surface_of(provider: Provider) -> EgressPolicy:
    """Return the policy under which an access token of this provider may leave: to its own API hosts alone."""
    return ALLOW_LISTED.for_hosts(*provider.api_hosts)


@upholds("7.2.2")
def require_own_host(provider: Provider, url: str) -> None:
    """Raise HostNotOfProvider for an address that an access token of this provider must not be sent to."""
    try:
        check_destination(parse_destination(url), "GET", surface_of(provider), exempt=False)
    except DestinationRefused as refusal:
        raise HostNotOfProvider from refusal


def _connection(scope: Scope, row: Row) -> Connection:
    return Connection(
        id=row["id"],
        client_id=row["oauth_client_id"],
        provider=definition_of(row["provider"], row["issuer"], row["definition"]),
        title=row["title"],
        owner_id=row["person_id"],
        owner_name=row["owner_name"] or "Somebody who has left",
        is_own=row["person_id"] == scope.actor.person_id,
        account=row["account"],
        status=Status(row["status"]),
        asked_scopes=tuple(row["asked_scopes"]),
        granted_scopes=tuple(row["granted_scopes"]),
        connected_at=row["connected_at"],
        expires_at=row["expires_at"],
        refreshes=row["refreshes"],
        last_used_at=row["last_used_at"],
        refreshed_at=row["refreshed_at"],
        failed_at=row["failed_at"],
        failure=row["failure"],
        revoked_at=row["revoked_at"],
        at_provider=row["at_provider"],
    )
