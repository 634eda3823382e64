"""The page of API keys: making, rotating and revoking them. A secret is shown in one answer, and kept nowhere."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Form
from fastapi.responses import HTMLResponse, Response

from operalta.access.rules import KEY_SCOPES, Permission
from operalta.guard import rules
from operalta.identity.errors import NotProved
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, Refusal
from operalta.vault.api_keys import service
from operalta.vault.api_keys.rules import USUAL_LIFE_DAYS, KeyKind, ShownOnce
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.permission_labels import LABELS
from operalta.web.presentation import go_to, page

router = APIRouter(prefix="/c/{company}/api-keys")

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.KEYS_USE, rules.READ))]
Managing = Annotated[CompanyEntry, Depends(InCompany(Permission.KEYS_USE, rules.SENSITIVE_WRITE))]
Text = Annotated[str, Form(max_length=2_000)]
Scopes = Annotated[list[Annotated[str, Form(max_length=40)]], Form(max_length=40)]

LIVES = {"7": "7 days", "30": "30 days", "90": "90 days", "180": "180 days", "366": "a year"}
OVERLAPS = {"0": "None: the old secret ends now", "1": "1 hour", "24": "1 day", "168": "7 days"}


@router.get("")
async def keys(entry: Reading) -> HTMLResponse:
    """Show one's own keys, the company's for those who manage them, and the form for another."""
    return await _page(entry, {}, None)


@router.post("")
async def make(
    entry: Managing,
    name: Text = "",
    kind: Text = KeyKind.PERSONAL.value,
    days: Text = str(USUAL_LIFE_DAYS),
    addresses: Text = "",
    scopes: Scopes = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Make a key and show its secret once."""
    form = {"name": name, "kind": kind, "days": days, "addresses": addresses, "scopes": scopes}
    try:
        async with entry.scope() as scope:
            made = await service.make_key(
                scope,
                _kind(kind),
                name,
                scopes,
                addresses=addresses.split(),
                expires_in_days=int(_choice(days, LIVES, "days")),
            )
    except NotProved:
        raise
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        return await _page(entry, form, refusal)
    return await _shown_once(entry, made, is_new=True)


@router.post("/{key_id}/rotate")
async def rotate(entry: Managing, key_id: UUID, overlap: Text = "0") -> Response:
    """Give a key another secret and show it once."""
    try:
        async with entry.scope() as scope:
            made = await service.rotate_key(scope, key_id, int(_choice(overlap, OVERLAPS, "overlap")))
    except InvalidInput as refusal:
        return await _page(entry, {}, refusal)
    return await _shown_once(entry, made, is_new=False)


@router.post("/{key_id}/revoke")
async def revoke(entry: Managing, key_id: UUID, typed: Text = "") -> Response:
    """End a key, confirmed by typing it as it is shown."""
    try:
        async with entry.scope() as scope:
            await service.revoke_key(scope, key_id, typed)
    except Conflict as refusal:
        return await _page(entry, {}, refusal)
    return go_to(f"/c/{entry.company}/api-keys", "revoked")


async def _page(entry: CompanyEntry, form: Mapping[str, Any], refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        offered = service.offered_scopes(scope)
        context = {
            "keys": await service.list_keys(scope),
            "may_manage": service.may_manage_company_keys(scope),
            "scopes": [(each.value, LABELS[each]) for each in Permission if each in KEY_SCOPES and each in offered],
            "lives": list(LIVES.items()),
            "overlaps": list(OVERLAPS.items()),
            "form": form,
        }
        return await page(
            entry.request,
            scope,
            "pages/api_keys.html",
            context,
            nav="keys",
            refusal=refusal,
        )


async def _shown_once(entry: CompanyEntry, made: ShownOnce, *, is_new: bool) -> HTMLResponse:
    async with entry.scope() as scope:
        context = {"name": made.name, "api_key": made.text, "is_new": is_new}
        return await page(entry.request, scope, "pages/api_key_shown.html", context, nav="keys")


def _kind(name: str) -> KeyKind:
    return KeyKind(_choice(name, {kind.value: "" for kind in KeyKind}, "kind"))


def _choice(name: str, offered: Mapping[str, str], field: str) -> str:
    if name not in offered:
        raise InvalidInput("Choose from the list.", field=field)
    return name
