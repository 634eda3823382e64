"""Connections to people's accounts at other services, and what a company is registered as there. Never a token."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.kernel import clock
from operalta.vault.oauth import service
from operalta.vault.oauth.providers import GENERIC, LONGEST_URL, MOST_SCOPES, Provider, providers
from operalta.vault.oauth.registrations import client_of, list_clients
from operalta.vault.oauth.rules import (
    LONGEST_CLIENT_ID,
    LONGEST_CLIENT_SECRET,
    Client,
    Connection,
    Health,
    Status,
    ends_at,
    health_of,
)
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}", tags=["connections"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_READ, rules.READ))]
Connecting = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_CONNECT, rules.SENSITIVE_WRITE))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_MANAGE, rules.SENSITIVE_WRITE))]

ClientId = Annotated[str, Field(min_length=1, max_length=LONGEST_CLIENT_ID)]
ClientSecret = Annotated[str, Field(min_length=1, max_length=LONGEST_CLIENT_SECRET, description="Sealed; never shown")]
ScopeName = Annotated[str, Field(min_length=1, max_length=200)]


class NewClientBody(Body):
    """A registration. `issuer` is for the provider `generic` alone, whose metadata (RFC 8414) is read then."""

    provider: Annotated[str, Field(min_length=1, max_length=20)]
    client_id: ClientId
    client_secret: ClientSecret
    issuer: Annotated[str, Field(max_length=LONGEST_URL)] = ""


class ClientBody(Body):
    """Another client id and secret, as after a rotation at the provider."""

    client_id: ClientId
    client_secret: ClientSecret


class ConnectBody(Body):
    """Which registration to connect through, and what to ask for; the provider's usual scopes where none is named."""

    oauth_client: UUID
    scopes: Annotated[tuple[ScopeName, ...], Field(max_length=MOST_SCOPES)] = ()
    again: UUID | None = None


class Scope(Shown):
    """A permission at a provider, and what it means."""

    name: str
    meaning: str


class ProviderShown(Shown):
    """A provider that a company can register at."""

    name: str
    title: str
    says: str
    lifetime: str
    scopes: tuple[Scope, ...]
    revokes: bool


class OAuthClient(Shown):
    """A company's registration at a provider."""

    id: UUID
    provider: str
    title: str
    issuer: str
    client_id: str
    redirect_uri: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    changed_at: datetime | None


class Begun(Shown):
    """Where the browser has to go, in the same session; the consent holds for ten minutes."""

    authorization_url: str


class ConnectionShown(Shown):
    """A connection, and how it is doing: `advice` says what its owner is to do."""

    id: UUID
    oauth_client: UUID
    provider: str
    title: str
    account: str | None
    owner_id: UUID
    owner_name: str
    status: Status
    health: Health
    advice: str
    asked_scopes: tuple[Scope, ...]
    granted_scopes: tuple[Scope, ...]
    missing_scopes: tuple[Scope, ...]
    further_scopes: tuple[Scope, ...]
    connected_at: datetime
    ends_at: datetime | None
    last_used_at: datetime | None
    refreshed_at: datetime | None
    failed_at: datetime | None
    revoked_at: datetime | None


@router.get("/oauth-providers")
async def list_providers(
    entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[ProviderShown]:
    """List the providers that the company can register at; besides them there is `generic`, for any issuer."""
    async with entry.scope():
        shown = tuple(_provider(each) for each in providers().values())
    items, following = whole(shown, limit, cursor)
    return Listing[ProviderShown](items=items, next_cursor=following)


@router.get("/oauth-clients")
async def list_registrations(
    entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[OAuthClient]:
    """List what the company is registered as at providers."""
    async with entry.scope() as scope:
        shown = tuple(_client(entry, each) for each in await list_clients(scope))
    items, following = whole(shown, limit, cursor)
    return Listing[OAuthClient](items=items, next_cursor=following)


@router.post("/oauth-clients", status_code=HTTPStatus.CREATED)
async def register(entry: Managing, body: NewClientBody) -> OAuthClient:
    """Register the company at a provider. Asks for a recent proof."""
    made = await entry.services.registrations.register(
        entry.scope, body.provider, body.client_id, body.client_secret, body.issuer if body.provider == GENERIC else ""
    )
    async with entry.scope() as scope:
        return _client(entry, await client_of(scope, made))


@router.put("/oauth-clients/{oauth_client_id}", status_code=HTTPStatus.NO_CONTENT)
async def change_registration(entry: Managing, oauth_client_id: UUID, body: ClientBody) -> None:
    """Replace client id and secret; connections go on. Asks for a recent proof."""
    async with entry.scope() as scope:
        await entry.services.registrations.change(scope, oauth_client_id, body.client_id, body.client_secret)


@router.delete("/oauth-clients/{oauth_client_id}", status_code=HTTPStatus.NO_CONTENT)
async def remove_registration(entry: Managing, oauth_client_id: UUID) -> None:
    """Remove a registration; every connection through it ends at once. Asks for a recent proof."""
    async with entry.scope() as scope:
        await entry.services.registrations.remove(scope, oauth_client_id)


@router.get("/connections")
async def list_connections(
    entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[ConnectionShown]:
    """List connections of the company's people, with their health; those revoked in the last thirty days too."""
    async with entry.scope() as scope:
        shown = tuple(_connection(each) for each in await service.list_connections(scope))
    items, following = whole(shown, limit, cursor)
    return Listing[ConnectionShown](items=items, next_cursor=following)


@router.post("/connections", status_code=HTTPStatus.CREATED)
async def begin_connection(entry: Connecting, body: ConnectBody) -> Begun:
    """Begin to connect an account of one's own, or to connect one `again`. Asks for a recent proof."""
    async with entry.scope() as scope:
        url = await entry.services.connecting.begin(scope, body.oauth_client, body.scopes, again=body.again)
    return Begun(authorization_url=url)


@router.get("/connections/{connection_id}")
async def get_connection(entry: Reading, connection_id: UUID) -> ConnectionShown:
    """Return one connection, with its health."""
    async with entry.scope() as scope:
        return _connection(await service.get_connection(scope, connection_id))


@router.delete("/connections/{connection_id}", status_code=HTTPStatus.NO_CONTENT)
async def revoke_connection(entry: Connecting, connection_id: UUID) -> None:
    """End a connection here at once, and at the provider as soon as it answers."""
    async with entry.scope() as scope:
        await service.revoke(scope, connection_id)


def _provider(provider: Provider) -> ProviderShown:
    return ProviderShown(
        name=provider.name,
        title=provider.title,
        says=provider.says,
        lifetime=provider.lifetime,
        scopes=_scopes(provider, tuple(provider.scopes)),
        revokes=provider.revocation is not None,
    )


def _client(entry: CompanyEntry, client: Client) -> OAuthClient:
    return OAuthClient(
        id=client.id,
        provider=client.provider.name,
        title=client.title,
        issuer=client.issuer,
        client_id=client.client_id,
        redirect_uri=entry.services.connecting.redirect_uri,
        scopes=_scopes(client.provider, tuple(client.provider.scopes)),
        created_at=client.created_at,
        changed_at=client.changed_at,
    )


def _connection(connection: Connection) -> ConnectionShown:
    health, advice = health_of(connection, clock.now())
    provider = connection.provider
    return ConnectionShown(
        id=connection.id,
        oauth_client=connection.client_id,
        provider=provider.name,
        title=connection.title,
        account=connection.account,
        owner_id=connection.owner_id,
        owner_name=connection.owner_name,
        status=connection.status,
        health=health,
        advice=advice,
        asked_scopes=_scopes(provider, connection.asked_scopes),
        granted_scopes=_scopes(provider, connection.granted_scopes),
        missing_scopes=_scopes(provider, connection.missing_scopes),
        further_scopes=_scopes(provider, connection.further_scopes),
        connected_at=connection.connected_at,
        ends_at=ends_at(connection),
        last_used_at=connection.last_used_at,
        refreshed_at=connection.refreshed_at,
        failed_at=connection.failed_at,
        revoked_at=connection.revoked_at,
    )


def _scopes(provider: Provider, names: tuple[str, ...]) -> tuple[Scope, ...]:
    return tuple(Scope(name=name, meaning=provider.meaning(name)) for name in names)
