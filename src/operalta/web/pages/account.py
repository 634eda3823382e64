"""The pages of one's own account: security, appearance, and the operator's outbox."""

import re
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Form
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from operalta.delivery.outbox import list_outbox
from operalta.guard import rules
from operalta.identity.errors import WrongPassword
from operalta.identity.factors.enrolment import own_factors
from operalta.identity.factors.rules import RECOVERY_CODES
from operalta.identity.own_account import (
    end_other_sessions,
    end_session,
    list_sessions,
    list_sign_ins,
    password_changed_at,
    send_verification,
)
from operalta.identity.passwords import SHORTEST_PASSWORD
from operalta.kernel.errors import InvalidInput, Refusal
from operalta.kernel.ids import SessionId
from operalta.web import cookies
from operalta.web.entry import ForPeople, ForVisitors, PersonEntry, VisitorEntry, require_operator
from operalta.web.presentation import go_to, page, safe_next

router = APIRouter()

Reading = Annotated[PersonEntry, Depends(ForPeople(rules.READ))]
Changing = Annotated[PersonEntry, Depends(ForPeople(rules.SENSITIVE_WRITE))]
ChangingPassword = Annotated[PersonEntry, Depends(ForPeople(rules.PASSWORD_CHANGE))]
Looking = Annotated[VisitorEntry, Depends(ForVisitors(rules.PAGE))]
Password = Annotated[str, Form(max_length=5_000)]
_LINK = re.compile(r"https?://\S+")


@router.get("/security")
async def security(entry: Reading) -> HTMLResponse:
    """Show second factors, password, sessions and sign-in history."""
    return await _security_page(entry, None)


@router.post("/security/password")
async def change_password(
    entry: ChangingPassword, current_password: Password = "", password: Password = ""
) -> Response:
    """Change the password; every other session ends."""
    try:
        await entry.services.accounts.change_password(entry.claims.session_secret, current_password, password)
    except WrongPassword as refusal:
        return await _security_page(entry, WrongPassword(refusal.public_text, field="current_password"))
    except InvalidInput as refusal:
        return await _security_page(entry, refusal)
    return go_to("/security", "password-changed")


@router.post("/security/sessions/revoke-others")
async def revoke_others(entry: Changing) -> RedirectResponse:
    """End every session but this one."""
    async with entry.scope() as scope:
        await end_other_sessions(scope)
    return go_to("/security", "revoked")


@router.post("/security/sessions/{session_id}/revoke")
async def revoke(entry: Changing, session_id: UUID) -> RedirectResponse:
    """End one session."""
    async with entry.scope() as scope:
        await end_session(scope, SessionId(session_id))
    return go_to("/security", "revoked")


@router.post("/security/verify-address")
async def send_link_again(entry: Changing) -> RedirectResponse:
    """Mail the link that verifies one's address again."""
    async with entry.scope() as scope:
        await send_verification(scope)
    return go_to("/companies", "sent")


@router.post("/appearance")
async def set_appearance(
    entry: Looking,
    appearance: Annotated[str, Form(pattern="^(auto|light|dark)$")] = "auto",
    return_to: Annotated[str, Form(max_length=2_000)] = "/",
) -> RedirectResponse:
    """Keep the choice of light or dark in a cookie that the server reads, so that nothing flashes."""
    del entry
    answer = go_to(safe_next(return_to))
    answer.headers.append(
        "set-cookie", cookies.set_cookie(cookies.APPEARANCE, appearance, seconds=cookies.YEAR_SECONDS)
    )
    return answer


@router.get("/outbox")
async def outbox(entry: Reading) -> HTMLResponse:
    """Show what would have been sent, to the operator of a deployment that keeps it."""
    async with entry.scope() as scope:
        require_operator(scope)
        kept = await list_outbox(scope)
        messages = [
            {
                "id": each.id,
                "channel": each.channel,
                "to": each.recipient,
                "subject": each.subject if each.channel == "mail" else None,
                "text": each.body,
                "at": each.at,
                "links": _LINK.findall(each.body),
            }
            for each in kept
        ]
        context = {"messages": messages, "previous_url": None, "next_url": None}
        return await page(entry.request, scope, "pages/outbox.html", context)


async def _security_page(entry: PersonEntry, refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        owned = await own_factors(scope)
        context = {
            "factors": [
                {
                    "id": each.id,
                    "kind": each.kind.value,
                    "label": each.label,
                    "created_at": each.created_at,
                    "last_used_at": each.last_used_at,
                }
                for each in owned.factors
            ],
            "recovery_codes": {"left": owned.recovery_codes_left, "total": RECOVERY_CODES},
            "recently_proved": owned.recently_proved,
            "offers_sms": entry.services.enrolment.offers_sms,
            "sessions": [
                {
                    "id": each.id,
                    "device": each.device,
                    "address": each.address,
                    "created_at": each.created_at,
                    "last_seen_at": each.last_seen_at,
                    "is_this": each.present,
                }
                for each in await list_sessions(scope)
            ],
            "history": [
                {
                    "at": each.at,
                    "outcome": "succeeded" if each.succeeded else "refused",
                    "device": each.device,
                    "address": each.address,
                }
                for each in await list_sign_ins(scope)
            ],
            "password_minimum": SHORTEST_PASSWORD,
            "password_changed_at": await password_changed_at(scope),
        }
        return await page(entry.request, scope, "pages/security.html", context, refusal=refusal)
