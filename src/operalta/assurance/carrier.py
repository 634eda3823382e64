"""An SMS provider of the throw-away deployment's own: it speaks Twilio's format over HTTP, and keeps what it is given.

What goes wrong at a provider can be had for one number at a time, so that others are served meanwhile.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl

PATIENCE_SECONDS = 45.0
LONGEST_REQUEST = 16_384
_NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
_CREATED, _BAD_REQUEST, _NOT_AUTHORISED, _NOT_FOUND, _UNAVAILABLE = 201, 400, 401, 404, 503


class NoSms(Exception):  # noqa: N818 - says what happened
    """The SMS that was waited for did not come."""


class Trouble(Enum):
    """What a number's messages meet with. `AWAY`: the line goes dead before any answer."""

    AWAY = 0, 0
    BUSY = _UNAVAILABLE, 20503
    REFUSED = _BAD_REQUEST, 21610


@dataclass(frozen=True, slots=True)
class Sms:
    """A message that was taken: what the provider calls it, and the request's form and headers (lower case)."""

    sid: str
    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    @property
    def number(self) -> str:
        """Where it goes."""
        return self.form["To"]

    @property
    def code(self) -> str:
        """The code that it carries: its first word."""
        return self.form["Body"].split(" ", 1)[0]


class Carrier:
    """The provider, in threads of its own. `account`, `sender` and `token` are what its customer was given."""

    def __init__(self) -> None:
        self.account = f"AC{secrets.token_hex(16)}"
        self.sender = "+41446681800"
        self.token = secrets.token_urlsafe(48)
        self._taken: list[Sms] = []
        self._turned_away: list[str] = []
        self._trouble: dict[str, Trouble] = {}
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, name="carrier", daemon=True)

    @property
    def url(self) -> str:
        """Where its API answers."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def path(self) -> str:
        """Where its customer makes messages."""
        return f"/2010-04-01/Accounts/{self.account}/Messages.json"

    @property
    def authorization(self) -> str:
        """What its customer's requests are authorised with."""
        return "Basic " + base64.b64encode(f"{self.account}:{self.token}".encode()).decode()

    def start(self) -> None:
        """Take messages from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more, and forget everything."""
        if self._thread.is_alive():
            self._server.shutdown()
        with contextlib.suppress(OSError):
            self._server.server_close()
        self._taken.clear()

    def taken(self) -> tuple[Sms, ...]:
        """Return everything that was taken so far, the oldest first."""
        return tuple(self._taken)

    def to(self, number: str) -> tuple[Sms, ...]:
        """Return what was taken for a number so far, the oldest first."""
        return tuple(sms for sms in self._taken if sms.number == number)

    def turned_away(self, number: str) -> int:
        """Return how many messages for a number met with trouble."""
        return self._turned_away.count(number)

    def give_trouble(self, number: str, trouble: Trouble | None) -> None:
        """Let a number's messages meet with trouble from now on, or with none any more."""
        if trouble is None:
            self._trouble.pop(number, None)
        else:
            self._trouble[number] = trouble

    async def wait_for(self, number: str, *, after: int = 0) -> Sms:
        """Return the newest SMS to a number once there are more than `after`. Raise NoSms where none comes."""
        async with _patience():
            while True:
                found = self.to(number)
                if len(found) > after:
                    return found[-1]
                await asyncio.sleep(0.02)

    def signature(self, url: str, form: Mapping[str, str]) -> str:
        """Return what signs a receipt: base64 of HMAC-SHA-1 over its address and its form, sorted by name."""
        signed = url + "".join(name + form[name] for name in sorted(form))
        return base64.b64encode(hmac.new(self.token.encode(), signed.encode(), hashlib.sha1).digest()).decode()

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, Mapping[str, object]]:
        """Take a request as Twilio does; return status and JSON of the answer. Status 0: none is given."""
        if headers.get("authorization") != self.authorization:
            return _error(_NOT_AUTHORISED, 20003)
        if path != self.path:
            return _error(_NOT_FOUND, 20404)
        form = dict(parse_qsl(body.decode(), strict_parsing=True))
        number = form.get("To", "")
        if number in self._trouble:
            self._turned_away.append(number)
            return _error(*self._trouble[number].value)
        if fault := self._fault(form):
            return _error(_BAD_REQUEST, fault)
        sms = Sms(f"SM{secrets.token_hex(16)}", form, dict(headers))
        self._taken.append(sms)
        return _CREATED, {"sid": sms.sid, "account_sid": self.account, "status": "queued", "to": number}

    def _fault(self, form: Mapping[str, str]) -> int:
        """Return the provider's own number for what is wrong with a form; 0 for nothing."""
        if not _NUMBER.fullmatch(form.get("To", "")):
            return 21211
        if form.get("From") != self.sender:
            return 21603
        return 0 if form.get("Body") else 21602


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, carrier: Carrier) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.carrier = carrier


class _Conversation(BaseHTTPRequestHandler):
    """One request after RFC 9112, and its answer."""

    protocol_version = "HTTP/1.1"
    timeout = 10

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "0")
        body = self.rfile.read(min(int(length), LONGEST_REQUEST)) if length.isdecimal() else b""
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not isinstance(self.server, _Server):
            return
        try:
            status, said = self.server.carrier.answer(self.path, headers, body)
        except ValueError:
            status, said = _error(_BAD_REQUEST, 21602)
        self.close_connection = True
        if not status:
            return
        answer = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Write nothing: what is asked for holds codes."""


def fresh_number() -> str:
    """Return a mobile number of Switzerland that nobody has."""
    return f"+4179{secrets.randbelow(10**7):07d}"


def codes_of(messages: Iterable[Sms]) -> tuple[str, ...]:
    """Return the codes that messages carry."""
    return tuple(sms.code for sms in messages)


def _error(status: int, code: int) -> tuple[int, Mapping[str, object]]:
    return status, {"code": code, "message": "The number is repeated here.", "status": status}


@contextlib.asynccontextmanager
async def _patience():  # noqa: ANN202 - told by the decorator
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except TimeoutError:
        raise NoSms(f"No such SMS came in {PATIENCE_SECONDS:g} seconds.") from None
