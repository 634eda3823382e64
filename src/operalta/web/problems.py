"""How refusals and faults are answered: `problem+json` (RFC 9457) on the API, a calm page elsewhere.

Nothing of an exception's own text is shown but a
refusal's public one.
"""

import json
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from operalta.identity.errors import NotProved
from operalta.kernel import errors
from operalta.kernel.errors import Refusal
from operalta.terms.registry import upholds
from operalta.web.presentation import render_bare
from operalta.web.statuses import status_of

log = structlog.get_logger(__name__)

_TITLES = {
    HTTPStatus.BAD_REQUEST: "This request cannot be read",
    HTTPStatus.UNAUTHORIZED: "Sign in to go on",
    HTTPStatus.FORBIDDEN: "Not permitted",
    HTTPStatus.NOT_FOUND: "Nothing here",
    HTTPStatus.METHOD_NOT_ALLOWED: "Not done this way",
    HTTPStatus.CONFLICT: "Changed in the meantime",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Too large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "Something needs correcting",
    HTTPStatus.TOO_MANY_REQUESTS: "A little too fast",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Something went wrong on our side",
    HTTPStatus.SERVICE_UNAVAILABLE: "Not available right now",
}
_FAULT = "The fault has been noted with the request's number. Try again; if it stays, tell the operator that number."


def install(application: FastAPI) -> None:
    """Register the handlers of everything that a route may raise."""
    application.add_exception_handler(Refusal, _refused)
    application.add_exception_handler(RequestValidationError, _invalid)
    application.add_exception_handler(HTTPException, _http)
    application.add_exception_handler(psycopg.errors.InsufficientPrivilege, _refused_by_policy)
    application.add_exception_handler(psycopg.DataError, _unfit_data)
    application.add_exception_handler(psycopg.OperationalError, _database_away)
    application.add_exception_handler(UnicodeError, _unfit_data)


@upholds("7.3.1")
def answer(
    request: Request,
    status: HTTPStatus,
    text: str,
    *,
    code: str,
    retry_after: int | None = None,
    faults: list[dict[str, str]] | None = None,
) -> Response:
    """Return the answer to a refused request in the form that its caller reads."""
    headers = {"Retry-After": str(retry_after)} if retry_after is not None else {}
    title = _TITLES.get(status, status.phrase)
    if wants_json(request):
        problem: dict[str, Any] = {
            "type": "about:blank",
            "title": title,
            "status": status.value,
            "detail": text,
            "code": code,
            "request_id": str(request.state.request_id),
        }
        if faults:
            problem["errors"] = faults
        return JSONResponse(problem, status, headers, media_type="application/problem+json")
    context = {"status": status.value, "title": title, "text": text, "retry_after": retry_after}
    return HTMLResponse(render_bare(request, "pages/error.html", context), status, headers)


def wants_json(request: Request) -> bool:
    """Tell whether the caller reads JSON: the API, other services, and scripts of our own pages that say so."""
    return request.url.path.startswith(("/api/", "/hooks/")) or "application/json" in request.headers.get("accept", "")


def _refused(request: Request, exception: Exception) -> Response:
    if not isinstance(exception, Refusal):
        raise exception
    status = status_of(exception)
    if status is HTTPStatus.UNAUTHORIZED and not wants_json(request):
        if request.method == "GET":
            back = quote(request.url.path + (f"?{request.url.query}" if request.url.query else ""), safe="/")
            return RedirectResponse(f"/sign-in?next={back}", HTTPStatus.SEE_OTHER)
        return RedirectResponse("/sign-in", HTTPStatus.SEE_OTHER)
    if isinstance(exception, NotProved) and not wants_json(request):
        return RedirectResponse(f"/step-up?{urlencode({'next': _place_to_return_to(request)})}", HTTPStatus.SEE_OTHER)
    field = getattr(exception, "field", None)
    faults = [{"field": field, "text": exception.public_text}] if isinstance(field, str) else None
    decision = getattr(exception, "decision", None)
    if decision is not None:
        request.state.limit = decision
    return answer(
        request,
        status,
        exception.public_text,
        code=exception.code,
        retry_after=exception.retry_after,
        faults=faults,
    )


def _place_to_return_to(request: Request) -> str:
    """Return the page to go back to after a proof: this one, or the one whose form was sent, with a word on it."""
    if request.method in {"GET", "HEAD"}:
        return request.url.path + (f"?{request.url.query}" if request.url.query else "")
    came_from = urlsplit(request.headers.get("referer", ""))
    if came_from.netloc.lower() != request.headers.get("host", "").lower():
        return ""
    query = [(name, value) for name, value in parse_qsl(came_from.query) if name != "notice"]
    return f"{came_from.path or '/'}?{urlencode([*query, ('notice', 'proved')])}"


@upholds("3.4.1")
def _invalid(request: Request, exception: Exception) -> Response:
    faults: list[dict[str, str]] = []
    if isinstance(exception, RequestValidationError):
        for fault in exception.errors():
            place = ".".join(str(part) for part in fault["loc"] if part not in {"body", "query", "path"})
            # Pydantic's message describes the rule; the input itself is not repeated.
            faults.append({"field": place[:200], "text": str(fault["msg"])[:300]})
    text = "Some of what was sent cannot be used: " + "; ".join(
        f"{fault['field'] or 'the request'}: {fault['text']}" for fault in faults[:5]
    )
    return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, text[:1000], code="invalid_input", faults=faults[:50])


def _http(request: Request, exception: Exception) -> Response:
    status = HTTPStatus(exception.status_code) if isinstance(exception, HTTPException) else HTTPStatus.BAD_REQUEST
    text = {
        HTTPStatus.NOT_FOUND: errors.public_text_of(errors.NotFound),
        HTTPStatus.METHOD_NOT_ALLOWED: "This address takes other methods.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: errors.public_text_of(errors.TooLarge),
    }.get(status, "The request cannot be read. Check it and send it again.")
    return answer(request, status, text, code=status.name.lower())


def _refused_by_policy(request: Request, exception: Exception) -> Response:
    log.warning("refused by the database", error=type(exception).__name__)
    return answer(request, HTTPStatus.FORBIDDEN, errors.public_text_of(errors.NotAllowed), code="not_allowed")


def _unfit_data(request: Request, exception: Exception) -> Response:
    log.info("unfit data", error=type(exception).__name__)
    text = "The text holds characters that cannot be kept. Remove them and send it again."
    return answer(request, HTTPStatus.UNPROCESSABLE_ENTITY, text, code="invalid_input")


def _database_away(request: Request, exception: Exception) -> Response:
    log.error("the database does not answer", error=type(exception).__name__)
    text = "The database does not answer right now. Try again shortly."
    return answer(request, HTTPStatus.SERVICE_UNAVAILABLE, text, code="database_out_of_reach", retry_after=5)


def fault(request: Request) -> Response:
    """Return the answer to a fault of ours: the request's id and nothing else."""
    return answer(request, HTTPStatus.INTERNAL_SERVER_ERROR, _FAULT, code="internal_error")


def bare_fault(request: Request) -> tuple[str, bytes]:
    """Return type and bytes of the same answer, made without anything that could be what is broken."""
    number, status = str(request.state.request_id), HTTPStatus.INTERNAL_SERVER_ERROR
    if not wants_json(request):
        page = f"<!doctype html><title>{_TITLES[status]}</title><p>{_FAULT}</p><p>{number}</p>"
        return "text/html; charset=utf-8", page.encode()
    problem = {
        "type": "about:blank",
        "title": _TITLES[status],
        "status": status.value,
        "detail": _FAULT,
        "code": "internal_error",
        "request_id": number,
    }
    return "application/problem+json", json.dumps(problem).encode()
