"""What a company is registered as at providers: client ids, and client secrets that are sealed at once."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from operalta.access.rules import Permission
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.identity.errors import NotProved
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.kernel.ids import new_id
from operalta.terms.registry import upholds
from operalta.vault.kinds import SecretKind
from operalta.vault.oauth import store
from operalta.vault.oauth.client import Asked, OAuthClient
from operalta.vault.oauth.errors import ClientExists, NoSuchClient, TooManyConnections
from operalta.vault.oauth.providers import GENERIC, Provider, clean_issuer, generic_provider, providers
from operalta.vault.oauth.rules import Client, OpenScope, client_id_of, client_secret_of
from operalta.vault.secrets import Secrets


class Registrations:
    """Registers a company at providers. Every change asks for a recent proof, and none shows a secret."""

    def __init__(self, secrets: Secrets, client: OAuthClient) -> None:
        self._secrets = secrets
        self._client = client

    @upholds("1.3.1", "5.5.3")
    async def register(
        self, open_scope: OpenScope, provider: str, client_id: str, client_secret: str, issuer: str = ""
    ) -> UUID:
        """Register the company at `provider`; for `generic`, at the `issuer` whose metadata is read now.

        Raise InvalidInput, NotProved, ProviderUnusable, ProviderAway, ClientExists, TooManyConnections.
        """
        known_as, secret = client_id_of(client_id), client_secret_of(client_secret)
        async with open_scope() as scope:
            require(scope, Permission.INTEGRATIONS_MANAGE)
            await require_recent_proof(scope, SensitiveOperation.REGISTER_CLIENT)
            company = scope.company
        asked, at, definition = Asked(), "", None
        try:
            if provider == GENERIC:
                at = clean_issuer(issuer)
                found, definition = await self._client.discover(at, company, asked)
            else:
                found = _defined(provider)
        except Exception:
            await _note(open_scope, asked)
            raise
        async with open_scope() as scope:
            await store.note_requests(scope, asked.lines)
            identifier = new_id()
            kept = await self._secrets.keep(scope, SecretKind.OAUTH_CLIENT_SECRET, identifier, secret.encode())
            fields = {
                "provider": provider,
                "issuer": at,
                "title": found.title,
                "known_as": known_as,
                "secret": kept,
                "definition": definition,
            }
            # A refusal undoes what was kept: it is raised inside the transaction.
            _require(await store.register(scope, identifier, fields), "registered")
        return identifier

    @upholds("1.3.1", "1.3.4")
    async def change(self, scope: Scope, client: UUID, client_id: str, client_secret: str) -> None:
        """Replace client id and secret, as after a rotation at the provider. Connections go on.

        Raise InvalidInput, NotProved, NoSuchClient.
        """
        require(scope, Permission.INTEGRATIONS_MANAGE)
        known_as, secret = client_id_of(client_id), client_secret_of(client_secret)
        await require_recent_proof(scope, SensitiveOperation.REGISTER_CLIENT)
        found = await client_of(scope, client)
        await self._secrets.replace(scope, found.secret_id, secret.encode())
        _require(await store.change_client(scope, client, known_as), "changed")

    @upholds("1.3.1", "1.3.4")
    async def remove(self, scope: Scope, client: UUID) -> None:
        """Remove a registration; every connection through it ends at once. Raise NotProved, NoSuchClient."""
        require(scope, Permission.INTEGRATIONS_MANAGE)
        await require_recent_proof(scope, SensitiveOperation.REGISTER_CLIENT)
        _require(await store.remove_client(scope, client), "removed")


async def list_clients(scope: Scope) -> tuple[Client, ...]:
    """Return the company's registrations, by title."""
    require(scope, Permission.INTEGRATIONS_READ)
    return tuple(_client(row) for row in await store.clients(scope))


async def client_of(scope: Scope, client: UUID) -> Client:
    """Return one registration. Raise NoSuchClient."""
    row = await store.client(scope, client)
    if row is None:
        raise NoSuchClient
    return _client(row)


def definition_of(provider: str, issuer: str, definition: Mapping[str, Any] | None) -> Provider:
    """Return the definition of a stored registration's provider, a generic one's as its issuer told it then."""
    return generic_provider(issuer, definition) if definition is not None else providers()[provider]


def _client(row: Row) -> Client:
    return Client(
        id=row["id"],
        provider=definition_of(row["provider"], row["issuer"], row["definition"]),
        issuer=row["issuer"],
        title=row["title"],
        client_id=row["client_id"],
        secret_id=row["kept_id"],
        created_at=row["created_at"],
        changed_at=row["changed_at"],
    )


def _defined(name: str) -> Provider:
    found = providers().get(name)
    if found is None:
        raise InvalidInput("Choose one of the providers that are listed.", field="provider")
    return found


def _require(verdict: str, wanted: str) -> None:
    if verdict == wanted:
        return
    match verdict:
        case "unproved":
            raise NotProved
        case "taken":
            raise ClientExists
        case "full":
            raise TooManyConnections
        case "none":
            raise NoSuchClient
        case _:
            raise NotAllowed


async def _note(open_scope: OpenScope, asked: Asked) -> None:
    if asked.lines:
        async with open_scope() as scope:
            await store.note_requests(scope, asked.lines)
