"""SMS providers that speak their real wire formats over HTTP on the loopback, and keep what they were asked."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
WORKSPACE = "8f1d0b4e-6f0e-4c7c-9a53-0d6d2a3b9f10"
CHANNEL = "2b7d7a53-58a6-4a53-8d0f-0a4b6a0f8f11"
SENDER = "+41446681800"
TOKEN = "a token of the account, as long as theirs are"
SIGNING_KEY = "a signing key of more than thirty-two bytes"
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), strict_parsing=True).items()}

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        return json.loads(self.body)


@dataclass
class Provider:
    """What all of them have in common. What is set here, is answered instead of what the format says."""

    port: int = 0
    status: int | None = None
    body: bytes | None = None
    location: str = ""
    content_type: str = "application/json"
    seconds: float = 0.0
    asked: list[Asked] = field(default_factory=list[Asked])

    name = ""
    settings: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        raise NotImplementedError

    def text(self, asked: Asked) -> str:
        """The SMS in a request."""
        raise NotImplementedError

    @property
    def codes(self) -> list[str]:
        """The codes that came, in order."""
        return [found[0] for asked in self.asked if (found := re.findall(r"\b[0-9]{6}\b", self.text(asked)))]

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = await _read(reader)
            self.asked.append(asked)
            await asyncio.sleep(self.seconds)
            status, answer = self.answer(asked)
            body = json.dumps(answer).encode() if self.body is None else self.body
            head = f"HTTP/1.1 {self.status or status} It is\r\nContent-Length: {len(body)}\r\n"
            head += f"Content-Type: {self.content_type}\r\n" + (f"Location: {self.location}\r\n" * bool(self.location))
            writer.write(head.encode() + b"\r\n" + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # whoever asked has hung up
        finally:
            writer.close()


@dataclass
class Twilio(Provider):
    """The Messages resource of the API of 2010-04-01."""

    name = "twilio"
    settings: dict[str, str] = field(default_factory=lambda: {"sms_account": ACCOUNT, "sms_sender": SENDER})

    def answer(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        credentials = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        if asked.headers.get("authorization") != f"Basic {credentials}":
            return _twilio_error(401, 20003, "Authenticate")
        if (asked.method, asked.path) != ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"):
            return _twilio_error(404, 20404, "The requested resource was not found")
        form = asked.form
        if not _E164.fullmatch(form.get("To", "")):
            return _twilio_error(400, 21211, f"Invalid 'To' Phone Number: {form.get('To')}")
        if not ({"From", "MessagingServiceSid"} & form.keys()):
            return _twilio_error(400, 21603, "A 'From' phone number is required.")
        if not form.get("Body"):
            return _twilio_error(400, 21602, "Message body is required.")
        sid = f"SM{uuid4().hex}"
        return 201, {"sid": sid, "account_sid": ACCOUNT, "status": "queued", "to": form["To"], "error_code": None}

    def text(self, asked: Asked) -> str:
        return asked.form["Body"]


@dataclass
class Bird(Provider):
    """The messages of a channel."""

    name = "bird"
    settings: dict[str, str] = field(default_factory=lambda: {"sms_account": WORKSPACE, "sms_sender": CHANNEL})

    def answer(self, asked: Asked) -> tuple[int, dict[str, Any]]:
        if asked.headers.get("authorization") != f"AccessKey {TOKEN}":
            return 401, {"code": "Unauthorized", "message": "no valid access key"}
        if (asked.method, asked.path) != ("POST", f"/workspaces/{WORKSPACE}/channels/{CHANNEL}/messages"):
            return 404, {"code": "NotFound", "message": "no such channel"}
        if asked.headers.get("content-type") != "application/json":
            return 415, {"code": "UnsupportedMediaType", "message": "send JSON"}
        (contact,) = asked.json["receiver"]["contacts"]
        if contact["identifierKey"] != "phonenumber" or not _E164.fullmatch(contact["identifierValue"]):
            return 422, {"code": "InvalidPayload", "message": f"{contact} is no receiver"}
        if asked.json["body"]["type"] != "text" or not asked.json["body"]["text"]["text"]:
            return 422, {"code": "InvalidPayload", "message": "there is no text"}
        return 202, {"id": str(uuid4()), "channelId": CHANNEL, "status": "accepted", "direction": "outgoing"}

    def text(self, asked: Asked) -> str:
        return asked.json["body"]["text"]["text"]


@asynccontextmanager
async def running(provider: Provider) -> AsyncGenerator[Provider]:
    """Start the provider on its port, or a free one, and stop it at the end."""
    server = await asyncio.start_server(provider.speak, "127.0.0.1", provider.port)
    provider.port = server.sockets[0].getsockname()[1]
    try:
        yield provider
    finally:
        server.close()
        await server.wait_closed()


def _twilio_error(status: int, code: int, message: str) -> tuple[int, dict[str, Any]]:
    more = f"https://www.twilio.com/docs/errors/{code}"
    return status, {"code": code, "message": message, "more_info": more, "status": status}


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, path, _ = head[0].split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    return Asked(method, path, headers, await reader.readexactly(int(headers.get("content-length", "0"))))
