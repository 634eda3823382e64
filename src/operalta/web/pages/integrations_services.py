"""Services that agents use: making, changing, switching, checking and removing them from the Integrations page."""

from typing import Annotated, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Form
from fastapi.responses import RedirectResponse, Response

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.identity.errors import NotProved
from operalta.kernel.errors import InvalidInput, Refusal
from operalta.vault.integrations.rules import (
    LONGEST_ADDRESS,
    LONGEST_CREDENTIAL,
    LONGEST_HEADER,
    LONGEST_NAME,
    LONGEST_SLUG,
    LONGEST_USER,
    Kind,
    Lends,
    Wanted,
)
from operalta.vault.integrations.rules import Form as CredentialForm
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.pages.integrations import show_page
from operalta.web.presentation import go_to

router = APIRouter()

Choice = TypeVar("Choice", Kind, CredentialForm)

Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_MANAGE, rules.SENSITIVE_WRITE))]

Slug = Annotated[str, Form(max_length=LONGEST_SLUG * 2)]
Name = Annotated[str, Form(max_length=LONGEST_NAME * 2)]
Word = Annotated[str, Form(max_length=40)]
Address = Annotated[str, Form(max_length=LONGEST_ADDRESS * 2)]
Header = Annotated[str, Form(max_length=LONGEST_HEADER * 2)]
User = Annotated[str, Form(max_length=LONGEST_USER * 2)]
Credential = Annotated[str, Form(max_length=LONGEST_CREDENTIAL * 2)]


@router.post("/c/{company}/integrations/services")
async def make(
    entry: Managing,
    slug: Slug = "",
    service_name: Name = "",
    kind: Word = "",
    base_url: Address = "",
    form: Word = "bearer",
    header: Header = "",
    user: User = "",
    credential: Credential = "",
    oauth_client: Word = "",
    writes: Word = "",
) -> Response:
    """Make an integration, switched off."""
    try:
        wanted = _wanted(slug, service_name, kind, base_url, form, header, user, credential, oauth_client, writes)
        async with entry.scope() as scope:
            await entry.services.integrations.make(scope, wanted)
    except NotProved:
        raise
    except Refusal as refusal:
        typed = {
            "slug": slug, "service_name": service_name, "kind": kind, "base_url": base_url, "form": form,
            "header": header, "user": user, "oauth_client": oauth_client, "writes": writes,
        }  # fmt: skip
        return await show_page(entry.request, entry.scope, {}, refusal, _redirect_uri(entry), service=typed)
    return go_to(f"/c/{entry.company}/integrations", "saved")


@router.post("/c/{company}/integrations/services/{integration_id}/change")
async def change(
    entry: Managing,
    integration_id: UUID,
    service_name: Name = "",
    base_url: Address = "",
    form: Word = "bearer",
    header: Header = "",
    user: User = "",
    credential: Credential = "",
    writes: Word = "",
) -> RedirectResponse:
    """Change an integration, and its credential where one is typed in."""
    async with entry.scope() as scope:
        await entry.services.integrations.change(
            scope,
            integration_id,
            name=service_name,
            base_url=base_url,
            allows_writes=writes == "yes",
            form=_one_of(CredentialForm, form, "form"),
            header_name=header or None,
            user_name=user or None,
            credential=credential or None,
        )
    return go_to(f"/c/{entry.company}/integrations", "saved")


@router.post("/c/{company}/integrations/services/{integration_id}/switch")
async def switch(entry: Managing, integration_id: UUID, on: Word = "") -> RedirectResponse:
    """Switch an integration on (`on` is yes) or off, which holds at the next call of every run."""
    await entry.services.integrations.switch(entry.scope, integration_id, on=on == "yes")
    return go_to(f"/c/{entry.company}/integrations", "saved")


@router.post("/c/{company}/integrations/services/{integration_id}/check")
async def check(entry: Managing, integration_id: UUID) -> Response:
    """Ask the service now, with one harmless request."""
    try:
        told = await entry.services.integrations.check(entry.scope, integration_id)
    except Refusal as refusal:
        return await show_page(entry.request, entry.scope, {}, refusal, _redirect_uri(entry))
    return await show_page(
        entry.request, entry.scope, {}, None, _redirect_uri(entry), told={"id": integration_id, "text": told}
    )


@router.post("/c/{company}/integrations/services/{integration_id}/remove")
async def remove(entry: Managing, integration_id: UUID) -> RedirectResponse:
    """Remove an integration with its credential."""
    async with entry.scope() as scope:
        await entry.services.integrations.remove(scope, integration_id)
    return go_to(f"/c/{entry.company}/integrations", "deleted")


def _wanted(
    slug: str, name: str, kind: str, base_url: str, form: str, header: str, user: str, credential: str, client: str,
    writes: str,
) -> Wanted:  # fmt: skip
    chosen = _one_of(Kind, kind, "kind")
    try:
        client_id = UUID(client) if client else None
    except ValueError as error:
        raise InvalidInput("Choose one of the registrations.", field="oauth_client") from error
    lends = Lends.CONNECTION if client_id else Lends.KEY
    if chosen is Kind.MCP_SERVER and not client_id and not credential.strip():
        lends = Lends.NONE
    return Wanted(
        slug=slug,
        name=name,
        kind=chosen,
        base_url=base_url,
        lends=lends,
        form=_one_of(CredentialForm, form, "form"),
        header_name=header or None,
        user_name=user or None,
        client_id=client_id,
        credential=credential or None,
        allows_writes=writes == "yes",
    )


def _one_of(choices: type[Choice], text: str, field: str) -> Choice:
    try:
        return choices(text)
    except ValueError as error:
        raise InvalidInput("Choose one of those that are offered.", field=field) from error


def _redirect_uri(entry: CompanyEntry) -> str:
    return entry.services.connecting.redirect_uri
