"""The outermost layer of every request: host and origin checks, body limit, request id, security headers.

Plain ASGI, so that nothing below it, no error page and no stream, goes out without it.
"""

import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import urlsplit

import structlog
from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException

from operalta.guard.rules import Decision, headers
from operalta.kernel.ids import RequestId, new_id
from operalta.settings import Profile, Settings
from operalta.terms.registry import upholds
from operalta.web import problems
from operalta.web.cookies import SessionCookies, session_headers
from operalta.web.presentation import render_bare

ASGIScope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[ASGIScope, Receive, Send], Awaitable[None]]

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'; report-uri /csp-reports"
)
DOCUMENTATION_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FORM_OVERHEAD_BYTES = 64 * 1024
SMALL_BODY_BYTES = 256 * 1024
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})

log = structlog.get_logger(__name__)


class BodyTooLarge(HTTPException):
    """More bytes came than the route takes. An HTTPException, which the framework's body parsers let through."""

    def __init__(self) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


class SecurityLayer:
    """Wraps the application."""

    def __init__(self, application: Application, settings: Settings) -> None:
        self._application = application
        self._settings = settings
        self._hosts = _own_hosts(settings)
        self._origins = {f"{scheme}://{host}" for scheme in ("http", "https") for host in self._hosts}
        if settings.profile is Profile.PRODUCTION:
            self._origins = {settings.base_url}
        self._trusted = [ip_network(proxy) for proxy in settings.trusted_proxies]

    async def __call__(self, scope: ASGIScope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        started = time.perf_counter()
        request_id = RequestId(new_id())
        scope.setdefault("state", {})
        scope["state"] |= {"request_id": request_id, "client_address": self._client_address(scope)}
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=str(request_id))
        request = Request(scope)
        answered: dict[str, int] = {}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._add_headers(request, message)
                answered["status"] = int(message["status"])
            await send(message)

        try:
            refusal = self._refuse(request)
            if refusal is not None:
                await refusal(scope, receive, send_guarded)
            else:
                await self._application(scope, _bounded(receive, self._body_limit(request)), send_guarded)
        except Exception as error:  # noqa: BLE001 - the last place before the client: it must never see a trace
            frames = traceback.extract_tb(error.__traceback__)[-8:]
            log.error(  # noqa: TRY400 - a trace holds values; names and lines are enough
                "fault",
                error=type(error).__name__,
                at=[f"{frame.filename.rpartition('operalta/')[2]}:{frame.lineno} {frame.name}" for frame in frames],
            )
            if "status" not in answered:
                try:
                    await problems.fault(request)(scope, receive, send_guarded)
                except Exception:  # noqa: BLE001 - what makes answers is broken, too
                    answered["status"] = HTTPStatus.INTERNAL_SERVER_ERROR.value
                    await self._answer_bare(request, send)
        finally:
            log.info(
                "request",
                method=request.method,
                path=_route_path(scope),
                status=answered.get("status"),
                milliseconds=round((time.perf_counter() - started) * 1000, 1),
            )

    async def _answer_bare(self, request: Request, send: Send) -> None:
        """Send the answer to a fault with what cannot be broken: constants and the request's id."""
        content_type, body = problems.bare_fault(request)
        headers = (("content-type", content_type), ("content-length", str(len(body))), *self._fixed_headers(request))
        encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        await send({"type": "http.response.start", "status": 500, "headers": encoded})
        await send({"type": "http.response.body", "body": body})

    def _refuse(self, request: Request) -> Response | None:
        host = request.headers.get("host", "").lower()
        if host not in self._hosts:
            return self._foreign_host(request, host)
        if request.method not in SAFE_METHODS and not self._is_own_origin(request):
            text = "This request came from another site, so nothing was done. Open Operalta itself and repeat it there."
            return problems.answer(request, HTTPStatus.FORBIDDEN, text, code="foreign_origin")
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._body_limit(request):
            text = f"This is larger than the {self._body_limit(request) // 1024} KiB that are taken here."
            return problems.answer(request, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, code="too_large")
        if "\x00" in request.url.path or "%00" in request.scope.get("raw_path", b"").decode("latin-1"):
            return problems.answer(request, HTTPStatus.BAD_REQUEST, "The address cannot be read.", code="bad_request")
        return None

    @upholds("1.1.3")
    def _foreign_host(self, request: Request, host: str) -> Response:
        status = HTTPStatus.MISDIRECTED_REQUEST
        if problems.wants_json(request):
            return problems.answer(request, status, f"Use {self._settings.base_url}.", code="foreign_host")
        context = {"address": host[:100], "local_url": self._settings.base_url}
        return HTMLResponse(render_bare(request, "pages/plain_http.html", context), status)

    @upholds("3.3.2")
    def _is_own_origin(self, request: Request) -> bool:
        site = request.headers.get("sec-fetch-site")
        if site is not None and site not in {"same-origin", "none"}:
            return False
        origin = request.headers.get("origin")
        # A program that sends neither header is no browser, and carries no cookie that it was not given.
        return origin is None or origin.lower() in self._origins

    def _body_limit(self, request: Request) -> int:
        if request.url.path.rstrip("/").endswith("/files"):
            return self._settings.upload_limit_bytes + FORM_OVERHEAD_BYTES
        return SMALL_BODY_BYTES

    @upholds("1.1.3")
    def _client_address(self, scope: ASGIScope) -> str:
        peer = str((scope.get("client") or ("127.0.0.1", 0))[0])
        try:
            trusted = any(ip_address(peer) in network for network in self._trusted)
        except ValueError:
            return "127.0.0.1"
        if not trusted:
            return peer
        forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
        last = ",".join(forwarded).rpartition(",")[2].strip()
        try:
            return str(ip_address(last))
        except ValueError:
            return peer

    @upholds("1.1.2", "3.3.2", "3.4.2")
    def _fixed_headers(self, request: Request) -> list[tuple[str, str]]:
        """Return the headers of every answer, whatever it says."""
        path = request.url.path
        policy = DOCUMENTATION_POLICY if path.startswith("/api/docs") else CONTENT_POLICY
        fixed = [
            ("x-request-id", str(request.state.request_id)),
            ("content-security-policy", policy),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ]
        if not path.startswith("/static/"):
            fixed.append(("cache-control", "no-store"))
        if self._settings.profile is Profile.PRODUCTION:
            fixed.append(("strict-transport-security", "max-age=63072000; includeSubDomains"))
        return fixed

    def _add_headers(self, request: Request, message: Message) -> None:
        found = {name.lower() for name, _ in message["headers"]}
        added = list(self._fixed_headers(request))
        session: SessionCookies | None = getattr(request.state, "session_cookies", None)
        if session is not None:
            added += [("set-cookie", value) for value in session_headers(session)]
        decision: Decision | None = getattr(request.state, "limit", None)
        if decision is not None:
            added += [(name.lower(), value) for name, value in headers(decision).items()]
        message["headers"] = [
            *message["headers"],
            *(
                (name.encode(), value.encode("latin-1"))
                for name, value in added
                if name == "set-cookie" or name.encode() not in found
            ),
        ]


def _own_hosts(settings: Settings) -> frozenset[str]:
    public = urlsplit(settings.base_url)
    if settings.profile is Profile.PRODUCTION:
        return frozenset({public.netloc.lower()})
    return frozenset({f"{name}:{settings.port}" for name in LOCAL_NAMES} | {public.netloc.lower()})


def _bounded(receive: Receive, limit: int) -> Receive:
    received = 0

    async def receive_bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise BodyTooLarge
        return message

    return receive_bounded


def _route_path(scope: ASGIScope) -> str:
    """Return the route's pattern, so that ids, slugs and tokens stay out of the log."""
    route = scope.get("route")
    return str(getattr(route, "path", "unmatched"))
