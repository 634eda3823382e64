"""Integrations: services for agents, providers that the company is registered at, and accounts of its people."""

from contextlib import AbstractAsyncContextManager
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import Permission
from operalta.db.scope import Scope, open_company_scope
from operalta.guard import rules
from operalta.identity.errors import NotProved
from operalta.kernel import clock
from operalta.kernel.errors import Refusal
from operalta.vault.integrations.listing import list_integrations
from operalta.vault.oauth import service as connections
from operalta.vault.oauth.connecting import LONGEST_CODE, LONGEST_STATE, Callback
from operalta.vault.oauth.providers import GENERIC, LONGEST_URL, MOST_SCOPES, Provider, providers
from operalta.vault.oauth.registrations import client_of, list_clients
from operalta.vault.oauth.rules import (
    LONGEST_CLIENT_ID,
    LONGEST_CLIENT_SECRET,
    STATE_MINUTES,
    Client,
    Connection,
    Health,
    OpenScope,
    Status,
    ends_at,
    health_of,
)
from operalta.web.entry import CompanyEntry, ForPeople, InCompany, PersonEntry
from operalta.web.integration_views import creation_choices, service_card
from operalta.web.presentation import go_to, page

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_READ, rules.READ))]
Connecting = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_CONNECT, rules.SENSITIVE_WRITE))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_MANAGE, rules.SENSITIVE_WRITE))]
ComingBack = Annotated[PersonEntry, Depends(ForPeople(rules.SENSITIVE_WRITE))]

Name = Annotated[str, Form(max_length=20)]
ClientId = Annotated[str, Form(max_length=LONGEST_CLIENT_ID * 2)]
ClientSecret = Annotated[str, Form(max_length=LONGEST_CLIENT_SECRET * 2)]
Issuer = Annotated[str, Form(max_length=LONGEST_URL * 2)]
Back = Annotated[str | None, Query(max_length=LONGEST_CODE * 2)]

_TONES = {
    Health.HEALTHY: ("Works", "ok"),
    Health.FAILING: ("Failing", "warn"),
    Health.ENDING: ("Ends soon", "warn"),
    Health.RECONNECT: ("Broken", "bad"),
    Health.REVOKED: ("Revoked", "neutral"),
}


@router.get("/c/{company}/integrations")
async def integrations(entry: Reading) -> HTMLResponse:
    """Show registrations and connections."""
    return await show_page(entry.request, entry.scope, {}, None, entry.services.connecting.redirect_uri)


@router.post("/c/{company}/integrations/clients")
async def register(
    entry: Managing,
    provider: Name = "",
    client_id: ClientId = "",
    client_secret: ClientSecret = "",
    issuer: Issuer = "",
) -> Response:
    """Register the company at a provider."""
    try:
        await entry.services.registrations.register(
            entry.scope, provider, client_id, client_secret, issuer if provider == GENERIC else ""
        )
    except NotProved:
        raise
    except Refusal as refusal:
        typed = {"provider": provider, "client_id": client_id, "issuer": issuer}
        return await show_page(entry.request, entry.scope, typed, refusal, entry.services.connecting.redirect_uri)
    return go_to(f"/c/{entry.company}/integrations", "saved")


@router.post("/c/{company}/integrations/clients/{oauth_client_id}/change")
async def change(
    entry: Managing, oauth_client_id: UUID, client_id: ClientId = "", client_secret: ClientSecret = ""
) -> RedirectResponse:
    """Replace client id and secret."""
    async with entry.scope() as scope:
        await entry.services.registrations.change(scope, oauth_client_id, client_id, client_secret)
    return go_to(f"/c/{entry.company}/integrations", "saved")


@router.post("/c/{company}/integrations/clients/{oauth_client_id}/remove")
async def remove(entry: Managing, oauth_client_id: UUID) -> RedirectResponse:
    """Remove a registration, and every connection through it."""
    async with entry.scope() as scope:
        await entry.services.registrations.remove(scope, oauth_client_id)
    return go_to(f"/c/{entry.company}/integrations", "deleted")


@router.post("/c/{company}/integrations/clients/{oauth_client_id}/connect")
async def connect(entry: Connecting, oauth_client_id: UUID) -> HTMLResponse:
    """Begin a connection, and show the way to the provider."""
    form = await entry.request.form(max_fields=MOST_SCOPES, max_files=0)
    scopes = tuple(str(each)[:200] for each in form.getlist("scope"))
    async with entry.scope() as scope:
        client = await client_of(scope, oauth_client_id)
        url = await entry.services.connecting.begin(scope, oauth_client_id, scopes)
        return await _way(entry.request, scope, client, url, scopes or client.provider.default_scopes)


@router.post("/c/{company}/integrations/connections/{connection_id}/again")
async def connect_again(entry: Connecting, connection_id: UUID) -> HTMLResponse:
    """Begin a connection of one's own anew, with what it asked for before."""
    async with entry.scope() as scope:
        found = await connections.get_connection(scope, connection_id)
        client = await client_of(scope, found.client_id)
        url = await entry.services.connecting.begin(scope, client.id, found.asked_scopes, again=connection_id)
        return await _way(entry.request, scope, client, url, found.asked_scopes)


@router.post("/c/{company}/integrations/connections/{connection_id}/revoke")
async def revoke(entry: Connecting, connection_id: UUID) -> RedirectResponse:
    """End a connection at once."""
    async with entry.scope() as scope:
        await connections.revoke(scope, connection_id)
    return go_to(f"/c/{entry.company}/integrations", "revoked")


@router.get("/connections/callback")
async def come_back(
    entry: ComingBack, state: Back = None, code: Back = None, error: Back = None, iss: Back = None
) -> Response:
    """Take what the provider sends the browser back with. The address is left at once: it holds a code."""
    callback = Callback(state[: LONGEST_STATE + 1] if state else None, code, error, iss)
    async with entry.scope() as scope:
        begun = await entry.services.connecting.take(scope, callback)

    def in_company() -> AbstractAsyncContextManager[Scope]:
        secret = entry.claims.session_secret
        return open_company_scope(entry.services.web, secret, str(begun.company_id), entry.origin)

    try:
        await entry.services.connecting.finish(in_company, begun, callback)
    except Refusal as refusal:
        return await show_page(entry.request, in_company, {}, refusal, entry.services.connecting.redirect_uri)
    return go_to(f"/c/{begun.company_slug}/integrations", "connected")


async def show_page(
    request: Request,
    open_scope: OpenScope,
    form: dict[str, str],
    refusal: Refusal | None,
    redirect_uri: str,
    *,
    service: dict[str, str] | None = None,
    told: dict[str, object] | None = None,
) -> HTMLResponse:
    """Show the page, with what was typed for a registration or a `service`, and what one answered just now."""
    async with open_scope() as scope:
        clients = await list_clients(scope)
        context = {
            "clients": [_client(each) for each in clients],
            "connections": [_connection(each) for each in await connections.list_connections(scope)],
            "providers": [
                *((each.name, each.title) for each in providers().values()),
                (GENERIC, "Another, by its issuer"),
            ],
            "redirect_uri": redirect_uri,
            "form": form,
            "services": [service_card(each) for each in await list_integrations(scope)],
            "service": service or {},
            "told": told,
            **creation_choices(clients),
        }
        return await page(request, scope, "pages/integrations.html", context, nav="integrations", refusal=refusal)


async def _way(request: Request, scope: Scope, client: Client, url: str, scopes: tuple[str, ...]) -> HTMLResponse:
    """Show the way to the provider as a link: a form must not lead to another site under our content policy."""
    context = {
        "title": client.title,
        "host": urlsplit(url).netloc,
        "url": url,
        "scopes": _words(client.provider, scopes),
        "minutes": STATE_MINUTES,
    }
    return await page(request, scope, "pages/connect.html", context, nav="integrations")


def _client(client: Client) -> dict[str, object]:
    provider = client.provider
    return {
        "id": client.id,
        "title": client.title,
        "says": provider.says or client.issuer,
        "lifetime": provider.lifetime,
        "client_id": client.client_id,
        "created_at": client.created_at,
        "scopes": [
            {"name": name, "meaning": meaning, "is_usual": name in provider.default_scopes}
            for name, meaning in provider.scopes.items()
        ],
    }


def _connection(connection: Connection) -> dict[str, object]:
    health, advice = health_of(connection, clock.now())
    word, tone = _TONES[health]
    return {
        "id": connection.id,
        "title": connection.title,
        "account": connection.account,
        "owner": "you" if connection.is_own else connection.owner_name,
        "is_own": connection.is_own,
        "is_over": connection.status is Status.REVOKED,
        "word": word,
        "tone": tone,
        "advice": advice,
        "granted": _words(connection.provider, connection.granted_scopes),
        "missing": _words(connection.provider, connection.missing_scopes),
        "further": _words(connection.provider, connection.further_scopes),
        "connected_at": connection.connected_at,
        "last_used_at": connection.last_used_at,
        "refreshed_at": connection.refreshed_at,
        "ends_at": ends_at(connection),
    }


def _words(provider: Provider, scopes: tuple[str, ...]) -> list[str]:
    return [provider.meaning(scope) for scope in scopes]
