"""The pages of addresses for incoming messages. What came is shown as text, and never as anything else."""

import json
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.identity.errors import NotProved
from operalta.kernel.errors import InvalidInput, Refusal, TooLarge
from operalta.vault.webhooks.errors import RotateFirst, SecretMissing
from operalta.vault.webhooks.inbound import hooks
from operalta.vault.webhooks.inbound.rules import HOOK_PATH, MAKES_OWN_SECRET, SCHEME_LABELS, HookOnce, Message
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.pages.webhooks import OVERLAPS, hours_of, scheme_of, show_all
from operalta.web.presentation import go_to, page

router = APIRouter(prefix="/c/{company}/inbound-hooks")

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_READ, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.INTEGRATIONS_MANAGE, rules.SENSITIVE_WRITE))]
Text = Annotated[str, Form(max_length=2_000)]
Start = Annotated[int, Query(ge=0, le=1_000, alias="from")]

SHOWN_MESSAGES = 10
SHOWN_CHARACTERS = 20_000
"""Of one message on the page; the API has all of it."""


@router.post("")
async def make(entry: Managing, name: Text = "", scheme: Text = "", secret: Text = "") -> Response:
    """Make an address, and show it once."""
    try:
        async with entry.scope() as scope:
            made = await entry.services.inbound_hooks.make(scope, name, scheme_of(scheme), secret)
    except NotProved:
        raise
    except (InvalidInput, TooLarge) as refusal:
        return await show_all(entry, {"name": name, "scheme": scheme}, refusal, is_inbound=True)
    return await _shown_once(entry, made)


@router.get("/{hook_id}")
async def hook(entry: Reading, hook_id: UUID, start: Start = 0) -> HTMLResponse:
    """Show one address, and what came."""
    return await _one(entry, hook_id, start, None)


@router.post("/{hook_id}/switch")
async def switch(entry: Managing, hook_id: UUID, on: Text = "") -> Response:
    """Switch it on or off."""
    try:
        async with entry.scope() as scope:
            await hooks.switch(scope, hook_id, on=on == "yes")
    except (RotateFirst, SecretMissing) as refusal:
        return await _one(entry, hook_id, 0, refusal)
    return go_to(f"/c/{entry.company}/inbound-hooks/{hook_id}", "switched-on" if on == "yes" else "switched-off")


@router.post("/{hook_id}/rotate")
async def rotate(entry: Managing, hook_id: UUID, overlap: Text = "24", secret: Text = "") -> Response:
    """Give it another secret: the sender's, or one of ours, which is shown once."""
    try:
        async with entry.scope() as scope:
            made = await entry.services.inbound_hooks.rotate(scope, hook_id, hours_of(overlap), secret)
    except InvalidInput as refusal:
        return await _one(entry, hook_id, 0, refusal)
    if made.secret is None:
        return go_to(f"/c/{entry.company}/inbound-hooks/{hook_id}", "saved")
    return await _shown_once(entry, made)


@router.post("/{hook_id}/remove")
async def remove(entry: Managing, hook_id: UUID) -> RedirectResponse:
    """Remove it with its secrets and everything that came."""
    async with entry.scope() as scope:
        await hooks.remove(scope, hook_id)
    return go_to(f"/c/{entry.company}/webhooks", "deleted")


async def _one(entry: CompanyEntry, hook_id: UUID, start: int, refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        found = await hooks.get_hook(scope, hook_id)
        listed = await hooks.list_messages(scope, hook_id, start, SHOWN_MESSAGES + 1)
        here = f"/c/{scope.actor.company_slug}/inbound-hooks/{hook_id}"
        context = {
            "hook": found,
            "scheme": SCHEME_LABELS[found.scheme],
            "brings_own": found.scheme in MAKES_OWN_SECRET,
            "messages": [_as_text(message) for message in listed[:SHOWN_MESSAGES]],
            "newer": f"{here}?from={max(0, start - SHOWN_MESSAGES)}" if start else None,
            "older": f"{here}?from={start + SHOWN_MESSAGES}" if len(listed) > SHOWN_MESSAGES else None,
            "overlaps": list(OVERLAPS.items()),
        }
        return await page(
            entry.request,
            scope,
            "pages/inbound_hook.html",
            context,
            nav="integrations",
            refusal=refusal,
        )


def _as_text(message: Message) -> dict[str, object]:
    text = json.dumps(message.body, indent=2, ensure_ascii=False)
    return {
        "received_at": message.received_at,
        "size": message.size,
        "text": text[:SHOWN_CHARACTERS],
        "is_cut": len(text) > SHOWN_CHARACTERS,
    }


async def _shown_once(entry: CompanyEntry, made: HookOnce) -> HTMLResponse:
    base = entry.services.settings.base_url
    async with entry.scope() as scope:
        context = {
            "name": made.name,
            "secret": made.secret,
            "url": None if made.token is None else f"{base}{HOOK_PATH}{made.token}",
            "is_new": made.token is not None,
            "is_inbound": True,
            "id": made.id,
        }
        return await page(entry.request, scope, "pages/webhook_shown.html", context, nav="integrations")
