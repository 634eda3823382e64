"""Whether the process lives and whether its parts answer; reports of the content policy; security.txt."""

import asyncio
import json
from datetime import timedelta

import psycopg
import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse

from operalta.guard import rules
from operalta.guard.rules import Subjects
from operalta.kernel import clock
from operalta.kernel.errors import Unavailable
from operalta.web.services import services_of

router = APIRouter()
log = structlog.get_logger(__name__)
_LONGEST_REPORT = 8_000
_REPORTED = ("effective-directive", "document-uri", "blocked-uri")


def _without_query(address: str) -> str:
    """Return an address without what could hold a token, bounded."""
    return address.partition("?")[0].partition("#")[0][:200]


@router.get("/healthz", include_in_schema=False)
async def healthz() -> PlainTextResponse:
    """Answer that the process lives, whatever its parts do."""
    return PlainTextResponse("alive\n")


@router.get("/readyz", include_in_schema=False)
async def readyz(request: Request) -> JSONResponse:
    """Tell of each dependency whether it answers; 503 where one does not."""
    services = services_of(request)

    async def database() -> None:
        async with services.web.acquire() as connection:
            await connection.execute("SELECT scope.prepare()")
            await connection.commit()

    found: dict[str, str] = {}
    for name, probe in (("database", database), ("rate_limit_store", services.limiter.ping)):
        try:
            await asyncio.wait_for(probe(), 2)
            found[name] = "ready"
        except (Unavailable, TimeoutError, psycopg.Error):
            found[name] = "not available"
    ready = all(state == "ready" for state in found.values())
    # Nothing waits for commands, so a server without them is ready. Why there are none is not for strangers.
    found["commands"] = "ready" if services.shell_state().available else "off"
    return JSONResponse({"ready": ready, "parts": found}, 200 if ready else 503)


@router.post("/csp-reports", include_in_schema=False, status_code=204)
async def content_policy_report(request: Request) -> None:
    """Note that a browser refused something under the content policy: what and where, without any query."""
    subjects = Subjects(address=request.state.client_address)
    await services_of(request).limiter.admit(rules.CONTENT_REPORT, subjects)
    try:
        sent: dict[str, object] = json.loads((await request.body())[:_LONGEST_REPORT])["csp-report"]
        told = {name: _without_query(str(sent.get(name, ""))) for name in _REPORTED}
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    log.warning("content policy report", **told)


@router.get("/.well-known/security.txt", include_in_schema=False)
async def security_text(request: Request) -> PlainTextResponse:
    """Say where to report a vulnerability (RFC 9116)."""
    settings = services_of(request).settings
    expires = (clock.now() + timedelta(days=90)).strftime("%Y-%m-%dT00:00:00Z")
    text = (
        f"Contact: mailto:{settings.security_contact}\nExpires: {expires}\nPreferred-Languages: en\n"
        f"Canonical: {settings.base_url}/.well-known/security.txt\nPolicy: {settings.base_url}/trust\n"
    )
    return PlainTextResponse(text)


@router.get("/.well-known/change-password", include_in_schema=False)
async def change_password() -> RedirectResponse:
    """Lead password managers to where a password is changed."""
    return RedirectResponse("/security", 303)
