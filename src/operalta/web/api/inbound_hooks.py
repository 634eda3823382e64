"""Webhooks that come in: addresses for other services, and what they have sent, which nobody here vouches for."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.vault.webhooks.inbound import hooks
from operalta.vault.webhooks.inbound.rules import HOOK_PATH, LONGEST_SECRET, HookOnce
from operalta.vault.webhooks.rules import LONGEST_NAME, LONGEST_OVERLAP_HOURS, OffBecause
from operalta.vault.webhooks.signatures import Scheme
from operalta.web.api.models import (
    REFUSALS,
    USUAL_PAGE_SIZE,
    Body,
    Cursor,
    Listing,
    PageSize,
    Shown,
    part,
    start_of,
    whole,
)
from operalta.web.api.webhooks import SwitchBody
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/inbound-hooks", tags=["webhooks"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_MANAGE, rules.SENSITIVE_WRITE))]

MOST_MESSAGES = 20
"""On one page: each may have 256 KiB."""

GivenSecret = Annotated[
    str, Field(max_length=LONGEST_SECRET, description="The sender's own; empty: one is made, where the scheme allows")
]


class HookBody(Body):
    """A new address. Stripe and Slack make the secret themselves, once they know the address: rotate to bring it."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    scheme: Scheme
    secret: GivenSecret = ""


class HookRotationBody(Body):
    """Another secret, and for how long the one before counts as well."""

    secret: GivenSecret = ""
    overlap_hours: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP_HOURS)] = 24


class InboundHook(Shown):
    """An address, known by its first characters. `says` is the state in words, with what to do about it.

    `needs_secret`: whoever has seen its secret may no longer manage integrations here; it cannot be switched on before
    it has another.
    """

    id: UUID
    name: str
    scheme: Scheme
    shown: str
    has_secret: bool
    needs_secret: bool
    is_on: bool
    says: str
    off_because: OffBecause | None
    holder_id: UUID
    holder_name: str | None
    created_at: datetime
    rotated_at: datetime | None
    previous_until: datetime | None
    switched_at: datetime | None
    received_at: datetime | None
    refused_at: datetime | None
    messages: int


class MadeHook(Shown):
    """What is told this once: the address of a new hook, and a secret that was made here. Keep both now."""

    id: UUID
    name: str
    url: str | None
    secret: str | None


class InboundMessage(Shown):
    """What came. `is_trusted` is always false: it is data, starts nothing and vouches for nothing."""

    id: UUID
    source: Scheme
    received_at: datetime
    size: int
    body: Any
    is_trusted: bool


@router.get("")
async def list_inbound_hooks(
    entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[InboundHook]:
    """List the company's addresses for incoming messages."""
    async with entry.scope() as scope:
        found = await hooks.list_hooks(scope)
    shown, following = whole(found, limit, cursor)
    return Listing[InboundHook](items=tuple(InboundHook.model_validate(each) for each in shown), next_cursor=following)


@router.post("", status_code=HTTPStatus.CREATED)
async def make_inbound_hook(entry: Managing, body: HookBody) -> MadeHook:
    """Make an address, switched off."""
    async with entry.scope() as scope:
        made = await entry.services.inbound_hooks.make(scope, body.name, body.scheme, body.secret)
    return _made(entry, made)


@router.put("/{hook_id}/switch", status_code=HTTPStatus.NO_CONTENT)
async def switch_inbound_hook(entry: Managing, hook_id: UUID, body: SwitchBody) -> None:
    """Switch it on or off, from the next message on."""
    async with entry.scope() as scope:
        await hooks.switch(scope, hook_id, on=body.on)


@router.post("/{hook_id}/rotate")
async def rotate_inbound_hook(entry: Managing, hook_id: UUID, body: HookRotationBody) -> MadeHook:
    """Give it another secret; the address stays."""
    async with entry.scope() as scope:
        made = await entry.services.inbound_hooks.rotate(scope, hook_id, body.overlap_hours, body.secret)
    return _made(entry, made)


@router.delete("/{hook_id}", status_code=HTTPStatus.NO_CONTENT)
async def remove_inbound_hook(entry: Managing, hook_id: UUID) -> None:
    """Remove it with its secrets and everything that came."""
    async with entry.scope() as scope:
        await hooks.remove(scope, hook_id)


@router.get("/{hook_id}/messages")
async def list_inbound_messages(
    entry: Reading,
    hook_id: UUID,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=MOST_MESSAGES)] = MOST_MESSAGES,
) -> Listing[InboundMessage]:
    """List what came, the newest first: five hundred are kept at most, for thirty days."""
    start = start_of(cursor)
    async with entry.scope() as scope:
        found = await hooks.list_messages(scope, hook_id, start, limit + 1)
    shown, following = part(found, limit, start)
    return Listing[InboundMessage](
        items=tuple(InboundMessage.model_validate(each) for each in shown), next_cursor=following
    )


def _made(entry: CompanyEntry, made: HookOnce) -> MadeHook:
    base = entry.services.settings.base_url
    url = None if made.token is None else f"{base}{HOOK_PATH}{made.token}"
    return MadeHook(id=made.id, name=made.name, url=url, secret=made.secret)
