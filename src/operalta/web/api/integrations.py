"""Other services that agents use: off when made, switched by people. Never a credential in any answer."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import Field

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.vault.integrations.listing import get_integration, list_integrations
from operalta.vault.integrations.rules import (
    LONGEST_ADDRESS,
    LONGEST_CREDENTIAL,
    LONGEST_HEADER,
    LONGEST_NAME,
    LONGEST_SLUG,
    LONGEST_USER,
    Form,
    Health,
    Integration,
    Kind,
    Lends,
    Wanted,
    health_of,
)
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/integrations", tags=["integrations"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_MANAGE, rules.SENSITIVE_WRITE))]

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Address = Annotated[str, Field(min_length=8, max_length=LONGEST_ADDRESS, description="https, without ? and #")]
Credential = Annotated[str, Field(min_length=1, max_length=LONGEST_CREDENTIAL, description="Sealed; never shown")]
Header = Annotated[str, Field(min_length=1, max_length=LONGEST_HEADER)]
User = Annotated[str, Field(min_length=1, max_length=LONGEST_USER)]


class IntegrationBody(Body):
    """What can be changed. A credential is kept where none is given; another address needs it again."""

    name: Name
    base_url: Address
    form: Form = Form.BEARER
    header_name: Header | None = None
    user_name: User | None = None
    credential: Credential | None = None
    allows_writes: bool = False


class NewIntegrationBody(IntegrationBody):
    """A new integration: it is off. `oauth_client` names the registration whose connected accounts are used."""

    slug: Annotated[str, Field(min_length=2, max_length=LONGEST_SLUG, pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    kind: Kind = Kind.API_KEY_SERVICE
    oauth_client: UUID | None = None


class SwitchBody(Body):
    """On or off."""

    on: bool


class ToolShown(Shown):
    """A tool of an MCP server as it stood when it was switched on, in the server's words."""

    name: str
    description: str


class IntegrationShown(Shown):
    """An integration, and how it is doing: `advice` says what there is to do."""

    id: UUID
    slug: str
    name: str
    kind: Kind
    base_url: str
    host: str
    lends: Lends
    form: Form
    header_name: str | None
    user_name: str | None
    oauth_client: UUID | None
    has_credential: bool
    entered_by: str | None
    entered_at: datetime | None
    allows_writes: bool
    is_on: bool
    switched_by: str | None
    switched_at: datetime | None
    health: Health
    advice: str
    tools: tuple[ToolShown, ...]
    created_at: datetime
    last_used_at: datetime | None
    checked_at: datetime | None
    failed_at: datetime | None
    failure: str | None


class Checked(Shown):
    """How a harmless request went just now."""

    told: str
    integration: IntegrationShown


@router.get("")
async def list_all(
    entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[IntegrationShown]:
    """List the company's integrations, on or off."""
    async with entry.scope() as scope:
        shown = tuple(_shown(each) for each in await list_integrations(scope))
    items, following = whole(shown, limit, cursor)
    return Listing[IntegrationShown](items=items, next_cursor=following)


@router.post("", status_code=HTTPStatus.CREATED)
async def make(entry: Managing, body: NewIntegrationBody) -> IntegrationShown:
    """Make an integration, switched off. Asks for a recent proof."""
    lends = Lends.CONNECTION if body.oauth_client else Lends.KEY
    if body.kind is Kind.MCP_SERVER and not body.oauth_client and not body.credential:
        lends = Lends.NONE
    wanted = Wanted(
        slug=body.slug,
        name=body.name,
        kind=body.kind,
        base_url=body.base_url,
        lends=lends,
        form=body.form,
        header_name=body.header_name,
        user_name=body.user_name,
        client_id=body.oauth_client,
        credential=body.credential,
        allows_writes=body.allows_writes,
    )
    async with entry.scope() as scope:
        return _shown(await get_integration(scope, await entry.services.integrations.make(scope, wanted)))


@router.get("/{integration_id}")
async def get(entry: Reading, integration_id: UUID) -> IntegrationShown:
    """Return one integration, with its health."""
    async with entry.scope() as scope:
        return _shown(await get_integration(scope, integration_id))


@router.put("/{integration_id}")
async def change(entry: Managing, integration_id: UUID, body: IntegrationBody) -> IntegrationShown:
    """Change an integration, and its credential where one is given. Asks for a recent proof."""
    async with entry.scope() as scope:
        await entry.services.integrations.change(
            scope,
            integration_id,
            name=body.name,
            base_url=body.base_url,
            allows_writes=body.allows_writes,
            form=body.form,
            header_name=body.header_name,
            user_name=body.user_name,
            credential=body.credential,
        )
        return _shown(await get_integration(scope, integration_id))


@router.put("/{integration_id}/switch")
async def switch(entry: Managing, integration_id: UUID, body: SwitchBody) -> IntegrationShown:
    """Switch an integration on or off. Off holds at the next call of every run, and asks for no proof."""
    await entry.services.integrations.switch(entry.scope, integration_id, on=body.on)
    async with entry.scope() as scope:
        return _shown(await get_integration(scope, integration_id))


@router.post("/{integration_id}/check")
async def check(entry: Managing, integration_id: UUID) -> Checked:
    """Ask the service now, with one harmless request."""
    told = await entry.services.integrations.check(entry.scope, integration_id)
    async with entry.scope() as scope:
        return Checked(told=told, integration=_shown(await get_integration(scope, integration_id)))


@router.delete("/{integration_id}", status_code=HTTPStatus.NO_CONTENT)
async def remove(entry: Managing, integration_id: UUID) -> None:
    """Remove an integration with its credential."""
    async with entry.scope() as scope:
        await entry.services.integrations.remove(scope, integration_id)


def _shown(found: Integration) -> IntegrationShown:
    health, advice = health_of(found)
    return IntegrationShown(
        id=found.id,
        slug=found.slug,
        name=found.name,
        kind=found.kind,
        base_url=found.base_url,
        host=found.host,
        lends=found.lends,
        form=found.form,
        header_name=found.header_name,
        user_name=found.user_name,
        oauth_client=found.client_id,
        has_credential=found.has_key,
        entered_by=found.held_by_name,
        entered_at=found.held_at,
        allows_writes=found.allows_writes,
        is_on=found.is_on,
        switched_by=found.switched_by_name,
        switched_at=found.switched_at,
        health=health,
        advice=advice,
        tools=tuple(ToolShown(name=each.name, description=each.description) for each in found.tools),
        created_at=found.created_at,
        last_used_at=found.last_used_at,
        checked_at=found.checked_at,
        failed_at=found.failed_at,
        failure=found.failure,
    )
