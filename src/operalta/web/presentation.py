"""Pages: the facts that every page's frame shows, and the way a template becomes an answer."""

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse

from operalta.access.rules import permissions_of
from operalta.db.scope import Scope
from operalta.identity.errors import TicketOver
from operalta.identity.own_account import me
from operalta.kernel.errors import InvalidInput, LimitReached, Refusal, public_text_of
from operalta.tenancy.service import get_company, my_companies
from operalta.web import cookies
from operalta.web.rendering import plural, render
from operalta.web.statuses import status_of

_A_MINUTE_AND_A_HALF = 90
Errors = Sequence[Mapping[str, str]]
_NOTICES = {
    "saved": ("ok", "Saved."),
    "sent": ("ok", "Sent."),
    "deleted": ("ok", "Deleted."),
    "restored": ("ok", "Restored."),
    "revoked": ("ok", "Revoked."),
    "connected": ("ok", "Connected."),
    "switched-on": ("ok", "Switched on."),
    "switched-off": ("ok", "Switched off, from now on."),
    "paused": ("ok", "Paused, from now on."),
    "resumed": ("ok", "Confirmed. It goes on at its next time."),
    "sent-again": ("ok", "It is sent again."),
    "verified": ("ok", "The address is verified. Sign in to go on."),
    "address-verified": ("ok", "Your address is verified."),
    "password-changed": ("ok", "The password is changed. Every other session has ended."),
    "password-reset": ("ok", "The password is set and all sessions have ended. Sign in with the new one."),
    "reset-over": ("warn", "This has taken too long, or was not begun here. Open the mailed link once more."),
    "ticket-over": ("warn", public_text_of(TicketOver)),
    "device-trusted": ("ok", "Codes can be tried again in this browser. Sign in to go on."),
    "proved": ("info", "You have confirmed that it is you, for ten minutes. Repeat now what you were about to do."),
    "factor-added": ("ok", "Added. It is asked for from your next sign-in on."),
    "factor-removed": ("ok", "Removed."),
    "signed-out": ("ok", "You are signed out."),
    "operator": ("ok", "You are the operator now."),
    "decided": ("ok", "Your decision is recorded."),
    "invited": ("ok", "The invitation is on its way."),
    "recorded": ("ok", "Recorded."),
    "stopped": ("ok", "Stopping."),
    "visit-ended": ("ok", "The visit has ended."),
    "handed-over": ("ok", "The company is handed over. Your own role has changed."),
    "log-whole": ("ok", "The log was checked: every sealed event is whole."),
}


def bare_frame(request: Request, *, errors: Errors = ()) -> dict[str, Any]:
    """Return the frame of a page for somebody who is not signed in (or whom we could not look up)."""
    appearance = request.cookies.get(cookies.APPEARANCE, "auto")
    notice = _NOTICES.get(request.query_params.get("notice", ""))
    return {
        "appearance": appearance if appearance in {"light", "dark"} else "auto",
        "person": None,
        "companies": [],
        "company": None,
        "permissions": frozenset[str](),
        "approvals_waiting": 0,
        "notice": {"kind": notice[0], "text": notice[1]} if notice else None,
        "errors": list(errors),
        "nav": "",
        "request_id": str(request.state.request_id),
    }


async def frame(request: Request, scope: Scope, *, nav: str = "", errors: Errors = ()) -> dict[str, Any]:
    """Return the frame of a page for the person (and the company) of `scope`."""
    from operalta.agents.approvals.service import count_waiting_approvals

    person = await me(scope)
    actor = scope.actor
    built = bare_frame(request, errors=errors)
    companies = await my_companies(scope)
    built |= {
        "person": {
            "name": person.name,
            "email": person.email,
            "is_operator": person.is_operator,
            "is_staff": person.is_staff,
        },
        "companies": [{"slug": each.slug, "name": each.name, "role": each.role} for each in companies],
        "nav": nav,
    }
    if actor.company_id is not None:
        name = next((each.name for each in companies if each.id == actor.company_id), None)
        built |= {
            "company": {
                "slug": actor.company_slug,
                "name": name or (await get_company(scope)).name,
                "kind": actor.company_kind,
                "role": actor.role,
                "visit_until": actor.staff_until,
            },
            "permissions": {permission.value for permission in permissions_of(actor.company_kind, actor.role)},
            "approvals_waiting": await count_waiting_approvals(scope),
        }
    return built


async def page(
    request: Request,
    scope: Scope,
    template: str,
    context: Mapping[str, Any],
    *,
    nav: str = "",
    refusal: Refusal | None = None,
    errors: Errors = (),
) -> HTMLResponse:
    """Return the page `template` (such as `pages/memory.html`) for the person of `scope`.

    A `refusal` of what the page's form asked for gives the status, and what the page says unless `errors` say it.
    """
    built = await frame(request, scope, nav=nav, errors=errors or form_errors(refusal))
    return HTMLResponse(render(template, {**context, "page": built}), _status(refusal))


def render_bare(request: Request, template: str, context: Mapping[str, Any], *, errors: Errors = ()) -> str:
    """Return the text of a page without a signed-in frame."""
    return render(template, {**context, "page": bare_frame(request, errors=errors)})


def bare_page(
    request: Request,
    template: str,
    context: Mapping[str, Any],
    *,
    refusal: Refusal | None = None,
) -> HTMLResponse:
    """Return a page without a signed-in frame; what was refused of its form is said there, with its status."""
    return HTMLResponse(render_bare(request, template, context, errors=form_errors(refusal)), _status(refusal))


def _status(refusal: Refusal | None) -> HTTPStatus:
    return HTTPStatus.OK if refusal is None else status_of(refusal)


def form_errors(refusal: Refusal | None) -> list[dict[str, str]]:
    """Return what a form shows of a refusal: its text, at the field at fault where there is one."""
    if refusal is None:
        return []
    field = refusal.field if isinstance(refusal, InvalidInput) else None
    text = refusal.public_text
    if isinstance(refusal, LimitReached) and refusal.retry_after is not None:
        text = f"Too many tries in a short time. You can go on in {_in_words(refusal.retry_after)}."
    return [{"field": field or "", "text": text}]


def _in_words(seconds: int) -> str:
    return plural(seconds, "second") if seconds < _A_MINUTE_AND_A_HALF else plural(math.ceil(seconds / 60), "minute")


def typed_lines(text: str) -> str:
    """Return what a browser's text area sent with the line ends that people mean (HTML sends CRLF)."""
    return text.replace("\r\n", "\n")


def go_to(path: str, notice: str | None = None) -> RedirectResponse:
    """Answer a form: 303 to a path of ours, with the name of a notice to show there."""
    if notice is not None:
        path += ("&" if "?" in path else "?") + f"notice={notice}"
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)


def safe_next(path: str) -> str:
    """Return `path` if it is a path of this site, else the start page: no redirect leads elsewhere."""
    if path.startswith("/") and not path.startswith(("//", "/\\")) and "\\" not in path and path.isprintable():
        return path
    return "/"
