"""Webhooks that go out: where events are sent, and what became of each. A signing secret is answered once."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.vault.webhooks import endpoints
from operalta.vault.webhooks.rules import (
    LONGEST_NAME,
    LONGEST_OVERLAP_HOURS,
    LONGEST_URL,
    DeliveryStatus,
    EventKind,
    OffBecause,
)
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/webhooks", tags=["webhooks"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_MANAGE, rules.SENSITIVE_WRITE))]

MOST_SHOWN = 1_000

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Kinds = Annotated[tuple[EventKind, ...], Field(min_length=1, max_length=20)]


class WebhookBody(Body):
    """A new webhook. It is off until it is switched on."""

    name: Name
    url: Annotated[str, Field(min_length=1, max_length=LONGEST_URL, description="https; kept, and never shown again")]
    events: Kinds


class WebhookChangeBody(Body):
    """Another name and other kinds; without `url` the address stays. Another address switches the webhook off."""

    name: Name
    events: Kinds
    url: Annotated[str, Field(max_length=LONGEST_URL)] = ""


class SwitchBody(Body):
    """On or off. Off holds from the next delivery on; what waited becomes a dead letter."""

    on: bool


class SecretRotationBody(Body):
    """For how long the secret before goes on beside the new one; 0 ends it at once, as if `needs_secret`."""

    overlap_hours: Annotated[int, Field(ge=0, le=LONGEST_OVERLAP_HOURS)] = 24


class Webhook(Shown):
    """Where events go. `destination` is scheme and host; `says` is the state in words, with what to do about it.

    `needs_secret`: whoever has seen its secret may no longer manage integrations here; it cannot be switched on before
    it has another. `dropped`: so many events at least were left out since it was switched on, because a thousand were
    waiting.
    """

    id: UUID
    name: str
    destination: str
    events: tuple[EventKind, ...]
    is_on: bool
    state: str
    says: str
    off_because: OffBecause | None
    holder_id: UUID
    holder_name: str | None
    created_at: datetime
    changed_at: datetime | None
    rotated_at: datetime | None
    previous_until: datetime | None
    needs_secret: bool
    switched_at: datetime | None
    failing_since: datetime | None
    last_attempt_at: datetime | None
    last_success_at: datetime | None
    last_status: int | None
    last_failure: str | None
    waiting: int
    dead: int
    dropped: int
    dropped_at: datetime | None


class MadeWebhook(Shown):
    """A webhook's signing secret (Standard Webhooks). It is in this answer and nowhere else: keep it now."""

    id: UUID
    name: str
    secret: str


class WebhookDelivery(Shown):
    """One event on its way. `message_id` is the header `webhook-id`, the same in every attempt and replay."""

    id: UUID
    message_id: str
    event: str
    subject_kind: str
    subject_id: UUID | None
    occurred_at: datetime
    status: DeliveryStatus
    attempts: int
    next_at: datetime | None
    attempted_at: datetime | None
    last_status: int | None
    failure: str | None
    finished_at: datetime | None
    replayed_at: datetime | None


class Replayed(Shown):
    """How many are sent again."""

    number: int


@router.get("")
async def list_webhooks(entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE) -> Listing[Webhook]:
    """List the company's webhooks."""
    async with entry.scope() as scope:
        found = await endpoints.list_endpoints(scope)
    shown, following = whole(found, limit, cursor)
    return Listing[Webhook](items=tuple(Webhook.model_validate(each) for each in shown), next_cursor=following)


@router.post("", status_code=HTTPStatus.CREATED)
async def make_webhook(entry: Managing, body: WebhookBody) -> MadeWebhook:
    """Make a webhook, switched off. Its address is checked by the rules for outgoing requests, now and at each use."""
    made = await entry.services.webhooks.make(entry.scope, body.name, body.url, body.events)
    return MadeWebhook.model_validate(made)


@router.get("/{webhook_id}")
async def get_webhook(entry: Reading, webhook_id: UUID) -> Webhook:
    """Return one webhook."""
    async with entry.scope() as scope:
        return Webhook.model_validate(await endpoints.get_endpoint(scope, webhook_id))


@router.put("/{webhook_id}", status_code=HTTPStatus.NO_CONTENT)
async def change_webhook(entry: Managing, webhook_id: UUID, body: WebhookChangeBody) -> None:
    """Change name, kinds and address. Another address switches it off: whoever switches it on holds it."""
    await entry.services.webhooks.change(entry.scope, webhook_id, body.name, body.events, body.url)


@router.put("/{webhook_id}/switch", status_code=HTTPStatus.NO_CONTENT)
async def switch_webhook(entry: Managing, webhook_id: UUID, body: SwitchBody) -> None:
    """Switch it on or off. Whoever switches it on holds it.

    It goes off when they, or whoever has seen its secret, may no longer manage integrations.
    """
    async with entry.scope() as scope:
        await endpoints.switch(scope, webhook_id, on=body.on)


@router.post("/{webhook_id}/rotate")
async def rotate_webhook(entry: Managing, webhook_id: UUID, body: SecretRotationBody) -> MadeWebhook:
    """Give it another secret. While the overlap lasts, both sign."""
    async with entry.scope() as scope:
        made = await entry.services.webhooks.rotate(scope, webhook_id, body.overlap_hours)
    return MadeWebhook.model_validate(made)


@router.delete("/{webhook_id}", status_code=HTTPStatus.NO_CONTENT)
async def remove_webhook(entry: Managing, webhook_id: UUID) -> None:
    """Remove it with its secrets and deliveries."""
    async with entry.scope() as scope:
        await endpoints.remove(scope, webhook_id)


@router.get("/{webhook_id}/deliveries")
async def list_webhook_deliveries(
    entry: Reading,
    webhook_id: UUID,
    status: Annotated[DeliveryStatus | None, Query(description="`dead`: those that were given up")] = None,
    cursor: Cursor = None,
    limit: PageSize = USUAL_PAGE_SIZE,
) -> Listing[WebhookDelivery]:
    """List the newest thousand deliveries of the last thirty days."""
    async with entry.scope() as scope:
        found = await endpoints.list_deliveries(scope, webhook_id, status, MOST_SHOWN)
    shown, following = whole(found, limit, cursor)
    items = tuple(WebhookDelivery.model_validate(each) for each in shown)
    return Listing[WebhookDelivery](items=items, next_cursor=following)


@router.post("/{webhook_id}/replay")
async def replay_webhook(entry: Managing, webhook_id: UUID) -> Replayed:
    """Send again what was given up: the newest thousand, under their own ids."""
    async with entry.scope() as scope:
        return Replayed(number=await endpoints.replay(scope, webhook_id))


@router.post("/{webhook_id}/deliveries/{delivery_id}/replay")
async def replay_delivery(entry: Managing, webhook_id: UUID, delivery_id: UUID) -> Replayed:
    """Send one of those again that were given up."""
    async with entry.scope() as scope:
        return Replayed(number=await endpoints.replay(scope, webhook_id, delivery_id))
