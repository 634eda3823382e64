"""An authorization server on the loopback: it speaks OAuth 2.1, the ways of real providers, and misbehaves when told.

Codes with PKCE S256, exact redirect addresses, refresh tokens that rotate and whose reuse ends the family, revocation
(RFC 7009), metadata (RFC 8414), `iss` (RFC 9207). It runs in a thread of its own, over real HTTP.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from operalta.vault.oauth.providers import Provider, providers

CLIENT_ID = "operalta-in-tests"
CLIENT_SECRET = "a-client-secret-that-nobody-must-see"
SCOPES = ("read", "write", "admin")


class Fault(StrEnum):
    """What the token endpoint does instead of what it should."""

    NO_TYPE = "no token_type"
    OTHER_TYPE = "a token_type that is no bearer"
    HUGE = "a body without end"
    SLOW = "a body that does not come"
    REDIRECT = "a redirect"
    HTML = "a page"
    WRONG_TYPE = "a body of another type"
    NOT_JSON = "no JSON"
    A_LIST = "a list"
    DEEP = "JSON that is nested without end"
    NEGATIVE = "a negative lifetime"
    ENDLESS = "a lifetime of an age"
    TEXT = "a lifetime in text"
    NONSENSE = "a lifetime that is a list"
    FEWER = "fewer scopes"
    MORE = "more scopes"
    LEAKING = "an error that repeats secrets"
    CONTROL = "a token with control characters"
    BROKEN = "status 500"
    BUSY = "status 429"
    HANG_UP = "no answer"
    NO_TOKEN = "an empty object"
    LOST = "it does all, and hangs up"


@dataclass
class Grant:
    """What somebody agreed to, and every token that came of it."""

    scopes: tuple[str, ...]
    access: set[str] = field(default_factory=set[str])
    refresh: str = ""
    spent: set[str] = field(default_factory=set[str])
    is_dead: bool = False


@dataclass
class _Code:
    grant: Grant
    redirect_uri: str
    challenge: str


@dataclass
class AuthorizationServer:
    """The server's state, and what tests tell it."""

    dialect: str = "generic"
    rotates: bool = True
    expires_in: int = 3600
    announces_iss: bool = True
    fault: Fault | None = None
    revocation_status: int | None = None
    redirect_uris: set[str] = field(default_factory=set[str])
    grants: list[Grant] = field(default_factory=list[Grant])
    codes: dict[str, _Code] = field(default_factory=dict[str, _Code])
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list[tuple[str, str, dict[str, str]]])
    refreshes: int = 0
    revoked: list[str] = field(default_factory=list[str])
    metadata_changes: dict[str, Any] = field(default_factory=dict[str, Any])
    port: int = 0
    held: threading.Event = field(default_factory=threading.Event)
    """Cleared by a test, every answer of the token endpoint waits until it is set."""
    reached: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self) -> None:
        """Let the next answers of the token endpoint wait; `reached` is set when one is asked for."""
        self.reached.clear()
        self.held.clear()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def exemption(self) -> str:
        return f"127.0.0.1:{self.port}"

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "authorization_response_iss_parameter_supported": self.announces_iss,
        } | self.metadata_changes

    def provider(self, name: str) -> Provider:
        """Return the definition of a real provider, with this server's addresses in place of its own."""
        real = providers()[name]
        revocation = real.revocation
        if revocation is not None:
            path = urlsplit(revocation.endpoint).path
            revocation = revocation.model_copy(update={"endpoint": f"{self.issuer}{path}"})
        return real.model_copy(
            update={
                "authorization": f"{self.issuer}/authorize",
                "token": f"{self.issuer}/token",
                "issuer": self.issuer if real.issuer else None,
                "revocation": revocation,
            }
        )

    def is_alive(self, access_token: str) -> bool:
        return any(access_token in grant.access and not grant.is_dead for grant in self.grants)

    # ── The authorization endpoint ────────────────────────────────────────────────────────────────────
    def authorize(self, query: dict[str, str]) -> str | None:
        """Agree to what is asked for and return where the browser goes; None where it is not asked as it must be."""
        if query.get("client_id") != CLIENT_ID or query.get("response_type") != "code":
            return None
        if query.get("redirect_uri") not in self.redirect_uris:
            return None
        challenge = query.get("code_challenge", "")
        if challenge and query.get("code_challenge_method") != "S256":
            return None
        if self._definition.pkce == "S256" and len(challenge) != 43:
            return None
        asked = query.get(self._definition.scopes_param, "")
        grant = Grant(tuple(each for each in asked.split(self._definition.separator) if each))
        self.grants.append(grant)
        code = secrets.token_urlsafe(16)
        self.codes[code] = _Code(grant, query["redirect_uri"], challenge)
        back = {"code": code, "state": query["state"]} | ({"iss": self.issuer} if self.announces_iss else {})
        return f"{query['redirect_uri']}?{urlencode(back)}"

    # ── The token endpoint ────────────────────────────────────────────────────────────────────────────
    def token(self, headers: dict[str, str], fields: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if not self._is_client(headers, fields):
            return self._error("invalid_client", 401)
        with self.lock:
            if fields.get("grant_type") == "authorization_code":
                code = self.codes.pop(fields.get("code", ""), None)
                if code is None or code.redirect_uri != fields.get("redirect_uri"):
                    return self._error("invalid_grant")
                made = hashlib.sha256(fields.get("code_verifier", "").encode()).digest()
                if code.challenge and base64.urlsafe_b64encode(made).rstrip(b"=").decode() != code.challenge:
                    return self._error("invalid_grant")
                return 200, self._tokens(code.grant)
            self.refreshes += 1
            presented = fields.get("refresh_token", "")
            for grant in self.grants:
                if presented in grant.spent:
                    grant.is_dead = True  # reuse ends the family
                if presented == grant.refresh and not grant.is_dead:
                    if self.rotates:
                        grant.spent.add(presented)
                        grant.refresh = ""
                    return 200, self._tokens(grant)
            return self._error("invalid_grant")

    def _tokens(self, grant: Grant) -> dict[str, Any]:
        access = f"access-{secrets.token_urlsafe(12)}"
        grant.access.add(access)
        grant.refresh = grant.refresh or f"refresh-{secrets.token_urlsafe(12)}"
        separator = self._definition.received_separator
        told: dict[str, Any] = {
            "access_token": access,
            "token_type": "bearer",
            "refresh_token": grant.refresh,
            "expires_in": self.expires_in,
            "scope": separator.join(grant.scopes),
        }
        match self.dialect:
            case "slack":
                inner = told | {"token_type": "user", "id": "U1"}
                return {"ok": True, "app_id": "A1", "team": {"id": "T1", "name": "Lumen"}, "authed_user": inner}
            case "notion":
                return {name: told[name] for name in ("access_token", "token_type", "refresh_token")} | {
                    "workspace_name": "Lumen",
                    "workspace_id": "w1",
                }
            case "stripe":
                return told | {"stripe_user_id": "acct_1", "livemode": False}
            case "linear":
                return told | {"scope": list(grant.scopes)}
            case _:
                return told

    def _error(self, code: str, status: int = 400) -> tuple[int, dict[str, Any]]:
        described = f"{CLIENT_SECRET} and everything else that was sent"
        if self.dialect == "github":
            code = {"invalid_grant": "bad_refresh_token"}.get(code, code)
            return 200, {"error": code, "error_description": described}
        if self.dialect == "slack":
            return 200, {"ok": False, "error": {"invalid_grant": "invalid_refresh_token"}.get(code, code)}
        if self.dialect == "hubspot":
            return status, {"status": {"invalid_grant": "BAD_REFRESH_TOKEN"}.get(code, code), "message": described}
        return status, {"error": code, "error_description": described}

    def revoke(self, method: str, path: str, headers: dict[str, str], fields: dict[str, str]) -> int:
        if self.revocation_status is not None:
            return self.revocation_status
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        presented = [fields.get("token", ""), fields.get("access_token", ""), bearer, path.rpartition("/")[2]]
        if "stripe_user_id" in fields and bearer != CLIENT_SECRET:
            return 401
        for grant in self.grants:
            if "stripe_user_id" in fields or any(each in {*grant.access, grant.refresh} for each in presented if each):
                grant.is_dead = True
                self.revoked.append(method)
        return 204 if method == "DELETE" else 200

    def _is_client(self, headers: dict[str, str], fields: dict[str, str]) -> bool:
        if self._definition.client_auth == "basic":
            pair = base64.b64decode(headers.get("authorization", "").removeprefix("Basic ")).decode()
            name, _, secret = pair.partition(":")
            return (unquote_plus(name), unquote_plus(secret)) == (CLIENT_ID, CLIENT_SECRET)
        return (fields.get("client_id"), fields.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)

    @property
    def _definition(self) -> Provider:
        defined = providers().get(self.dialect)
        return defined or Provider(name="generic", title="-", authorization="https://a.b", token="https://a.b")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: AuthorizationServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's form
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.state.asked.append(("GET", parts.path, {}))
        if parts.path == "/.well-known/oauth-authorization-server":
            self._json(200, self.state.metadata())
        elif parts.path == "/authorize":
            where = self.state.authorize({name: values[0] for name, values in parse_qs(parts.query).items()})
            if where is None:
                self._json(400, {"error": "invalid_request"})
            else:
                self._send(302, b"", "text/html", {"Location": where})
        else:
            self._json(404, {})

    def do_POST(self) -> None:
        fields = self._fields()
        path = urlsplit(self.path).path
        self.state.asked.append((self.command, path, fields))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if path == "/token" and self.command == "POST":
            self.state.reached.set()
            self.state.held.wait(30)
            self._token(headers, fields)
            return
        status = self.state.revoke(self.command, path, headers, fields)
        self._json(status, {"ok": status == 200}) if status != 204 else self._send(204, b"", "", {})

    do_DELETE = do_POST  # noqa: N815 - the library's form

    def _token(self, headers: dict[str, str], fields: dict[str, str]) -> None:
        fault = self.state.fault
        bodies: dict[Fault | None, tuple[str, bytes]] = {
            Fault.HTML: ("text/html", b"<html>sign in</html>"),
            Fault.WRONG_TYPE: ("application/octet-stream", b"{}"),
            Fault.NOT_JSON: ("application/json", b"{not json"),
            Fault.A_LIST: ("application/json", b"[1]"),
            Fault.DEEP: ("application/json", b"[" * 100_000),
            Fault.NO_TOKEN: ("application/json", b"{}"),
        }
        if fault in bodies:
            kind, body = bodies[fault]
            self._send(200, body, kind, {})
        elif fault is Fault.REDIRECT:
            self._send(307, b"", "text/html", {"Location": f"{self.state.issuer}/elsewhere"})
        elif fault in {Fault.BROKEN, Fault.BUSY}:
            self._json(500 if fault is Fault.BROKEN else 429, {"error": "invalid_grant"})
        elif fault is Fault.LEAKING:
            self._json(400, {"error": "invalid_request", "error_description": json.dumps(fields)})
        elif fault is Fault.HANG_UP:
            self.close_connection = True
        elif fault is Fault.HUGE:
            self._send(200, b'{"access_token": "' + b"a" * 3_000_000 + b'"}', "application/json", {})
        elif fault is Fault.SLOW:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "100")
            self.end_headers()
            time.sleep(3)
        else:
            self._tokens(fault, headers, fields)

    def _tokens(self, fault: Fault | None, headers: dict[str, str], fields: dict[str, str]) -> None:
        status, told = self.state.token(headers, fields)
        if fault is Fault.LOST:
            self.close_connection = True
            return
        changes: dict[Fault, dict[str, Any]] = {
            Fault.OTHER_TYPE: {"token_type": "mac"},
            Fault.NEGATIVE: {"expires_in": -5},
            Fault.ENDLESS: {"expires_in": 10**30},
            Fault.TEXT: {"expires_in": "3600"},
            Fault.NONSENSE: {"expires_in": [1]},
            Fault.FEWER: {"scope": "read"},
            Fault.MORE: {"scope": "read write admin everything"},
            Fault.CONTROL: {"access_token": "access\r\nx-injected: 1"},
        }
        if fault is Fault.NO_TYPE:
            told.pop("token_type", None)
        told |= changes.get(fault, {}) if fault else {}
        self._json(status, told)

    def _fields(self) -> dict[str, str]:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "json" in (self.headers.get("Content-Type") or ""):
            return json.loads(body)
        return {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}

    def _json(self, status: int, content: dict[str, Any]) -> None:
        wants_json = "application/json" in (self.headers.get("Accept") or "")
        if self.state.dialect == "github" and not wants_json:  # as GitHub does
            self._send(status, urlencode(content).encode(), "application/x-www-form-urlencoded", {})
            return
        self._send(status, json.dumps(content).encode(), "application/json", {})

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        try:
            self.send_response(status)
            for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the client has had enough


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 300


@contextmanager
def serving(**told: Any) -> Generator[AuthorizationServer]:  # noqa: ANN401 - the fields of the server
    """Start a server on a free port of the loopback."""
    state = AuthorizationServer(**told)
    state.held.set()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.held.set()
        server.shutdown()
        server.server_close()
