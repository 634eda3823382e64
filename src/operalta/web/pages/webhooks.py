"""The pages of webhooks: where events go and messages come in; and one webhook with what became of its deliveries."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.identity.errors import NotProved
from operalta.kernel.errors import Conflict, InvalidInput, Refusal, TooLarge
from operalta.vault.webhooks import endpoints
from operalta.vault.webhooks.errors import NoSuchDelivery, RotateFirst
from operalta.vault.webhooks.inbound import hooks
from operalta.vault.webhooks.inbound.rules import SCHEME_LABELS
from operalta.vault.webhooks.rules import EVENT_LABELS, DeliveryStatus, SecretOnce
from operalta.vault.webhooks.signatures import Scheme
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.presentation import go_to, page

router = APIRouter(prefix="/c/{company}/webhooks")

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_MANAGE, rules.SENSITIVE_WRITE))]
Text = Annotated[str, Form(max_length=4_000)]
Kinds = Annotated[list[Annotated[str, Form(max_length=80)]], Form(max_length=40)]
Shown = Annotated[DeliveryStatus | None, Query()]

OVERLAPS = {"0": "Nothing: the old secret ends now", "1": "1 hour", "24": "1 day", "168": "7 days"}
SHOWN_DELIVERIES = 50


@router.get("")
async def webhooks(entry: Reading) -> HTMLResponse:
    """Show both kinds, and the forms for another of each."""
    return await show_all(entry, {}, None)


@router.post("")
async def make(entry: Managing, name: Text = "", url: Text = "", events: Kinds = []) -> Response:  # noqa: B006 - FastAPI copies it
    """Make a webhook, and show its secret once."""
    try:
        made = await entry.services.webhooks.make(entry.scope, name, url, events)
    except NotProved:
        raise
    except (InvalidInput, TooLarge) as refusal:
        return await show_all(entry, {"name": name, "url": url, "events": events}, refusal)
    return await _shown_once(entry, made, is_new=True)


@router.get("/{webhook_id}")
async def webhook(entry: Reading, webhook_id: UUID, status: Shown = None) -> HTMLResponse:
    """Show one webhook, and its newest deliveries."""
    return await _one(entry, webhook_id, status, {}, None)


@router.post("/{webhook_id}/change")
async def change(
    entry: Managing,
    webhook_id: UUID,
    name: Text = "",
    url: Text = "",
    events: Kinds = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Change name, kinds and, where one was typed, address."""
    try:
        await entry.services.webhooks.change(entry.scope, webhook_id, name, events, url)
    except InvalidInput as refusal:
        return await _one(entry, webhook_id, None, {"name": name, "url": url, "events": events}, refusal)
    return go_to(f"/c/{entry.company}/webhooks/{webhook_id}", "saved")


@router.post("/{webhook_id}/switch")
async def switch(entry: Managing, webhook_id: UUID, on: Text = "") -> Response:
    """Switch it on or off."""
    try:
        async with entry.scope() as scope:
            await endpoints.switch(scope, webhook_id, on=on == "yes")
    except RotateFirst as refusal:
        return await _one(entry, webhook_id, None, {}, refusal)
    return go_to(f"/c/{entry.company}/webhooks/{webhook_id}", "switched-on" if on == "yes" else "switched-off")


@router.post("/{webhook_id}/rotate")
async def rotate(entry: Managing, webhook_id: UUID, overlap: Text = "24") -> Response:
    """Give it another secret, and show that once."""
    try:
        async with entry.scope() as scope:
            made = await entry.services.webhooks.rotate(scope, webhook_id, hours_of(overlap))
    except InvalidInput as refusal:
        return await _one(entry, webhook_id, None, {}, refusal)
    return await _shown_once(entry, made, is_new=False)


@router.post("/{webhook_id}/remove")
async def remove(entry: Managing, webhook_id: UUID) -> RedirectResponse:
    """Remove it with its secrets and deliveries."""
    async with entry.scope() as scope:
        await endpoints.remove(scope, webhook_id)
    return go_to(f"/c/{entry.company}/webhooks", "deleted")


@router.post("/{webhook_id}/replay")
async def replay_all(entry: Managing, webhook_id: UUID) -> Response:
    """Send again everything that was given up."""
    return await _replay(entry, webhook_id, None)


@router.post("/{webhook_id}/deliveries/{delivery_id}/replay")
async def replay_one(entry: Managing, webhook_id: UUID, delivery_id: UUID) -> Response:
    """Send one again that was given up."""
    return await _replay(entry, webhook_id, delivery_id)


async def show_all(
    entry: CompanyEntry, form: Mapping[str, Any], refusal: Refusal | None, *, is_inbound: bool = False
) -> HTMLResponse:
    """Show the page of all webhooks, with a form as it was typed where it was refused."""
    nothing: Mapping[str, Any] = {}
    async with entry.scope() as scope:
        context: dict[str, object] = {
            "endpoints": await endpoints.list_endpoints(scope),
            "hooks": await hooks.list_hooks(scope),
            "kinds": [(kind.value, label) for kind, label in EVENT_LABELS.items()],
            "schemes": [(scheme.value, label) for scheme, label in SCHEME_LABELS.items()],
            "form": nothing if is_inbound else form,
            "hook_form": form if is_inbound else nothing,
        }
        return await page(
            entry.request,
            scope,
            "pages/webhooks.html",
            context,
            nav="integrations",
            refusal=refusal,
        )


def hours_of(overlap: str) -> int:
    """Return the hours of a choice. Raise InvalidInput for one that is not offered."""
    if overlap not in OVERLAPS:
        raise InvalidInput("Choose from the list.", field="overlap")
    return int(overlap)


def scheme_of(name: str) -> Scheme:
    """Return the scheme of this name. Raise InvalidInput for none."""
    try:
        return Scheme(name)
    except ValueError:
        raise InvalidInput("Choose from the list.", field="scheme") from None


async def _replay(entry: CompanyEntry, webhook_id: UUID, delivery_id: UUID | None) -> Response:
    try:
        async with entry.scope() as scope:
            await endpoints.replay(scope, webhook_id, delivery_id)
    except (Conflict, NoSuchDelivery) as refusal:
        return await _one(entry, webhook_id, None, {}, refusal)
    return go_to(f"/c/{entry.company}/webhooks/{webhook_id}", "sent-again")


async def _one(
    entry: CompanyEntry,
    webhook_id: UUID,
    status: DeliveryStatus | None,
    form: Mapping[str, Any],
    refusal: Refusal | None,
) -> HTMLResponse:
    async with entry.scope() as scope:
        found = await endpoints.get_endpoint(scope, webhook_id)
        listed = await endpoints.list_deliveries(scope, webhook_id, status, SHOWN_DELIVERIES)
        context = {
            "endpoint": found,
            "labels": {kind.value: label for kind, label in EVENT_LABELS.items()},
            "deliveries": listed,
            "status": status.value if status else "",
            "most": SHOWN_DELIVERIES,
            "kinds": [(kind.value, label) for kind, label in EVENT_LABELS.items()],
            "overlaps": list(OVERLAPS.items()),
            "form": form,
        }
        return await page(
            entry.request,
            scope,
            "pages/webhook.html",
            context,
            nav="integrations",
            refusal=refusal,
        )


async def _shown_once(entry: CompanyEntry, made: SecretOnce, *, is_new: bool) -> HTMLResponse:
    async with entry.scope() as scope:
        context = {
            "id": made.id,
            "name": made.name,
            "secret": made.secret,
            "url": None,
            "is_new": is_new,
            "is_inbound": False,
        }
        return await page(entry.request, scope, "pages/webhook_shown.html", context, nav="integrations")
