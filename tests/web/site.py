"""The application as it is served: real servers behind it, real HTTP in front, and clients with cookies."""

import http.client
import json
import secrets
import socket
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI

from operalta.app import build
from operalta.guard.errors import LimiterUnavailable
from operalta.identity.tokens import digest, new_secret
from operalta.kernel.errors import public_text_of
from operalta.kernel.ids import PersonId, SessionId, new_id
from operalta.web import cookies
from operalta.web.services import Services
from tests.conftest import Member, Servers

LONGEST_WAIT_SECONDS = 30
MOST_ATTEMPTS = 5
NOT_COUNTED = public_text_of(LimiterUnavailable).encode()


@dataclass(frozen=True)
class Answer:
    """What came back. Header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @cached_property
    def json(self) -> Any:  # noqa: ANN401 - whatever was sent
        return json.loads(self.body)

    def header(self, name: str) -> str:
        """The value of a header that came at most once; "" where it did not come."""
        found = [value for key, value in self.headers if key == name]
        assert len(found) < 2, (name, found)
        return found[0] if found else ""

    @property
    def location(self) -> str:
        return self.header("location")


@dataclass
class Client:
    """A client with a cookie jar. It keeps Secure cookies over plain HTTP, as browsers do on localhost."""

    host: str
    port: int
    jar: dict[str, str] = field(default_factory=dict[str, str])
    api_key: str = ""

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request and follow nothing.

        Where the machine was too busy to count it in time, nothing was done, and it is sent again.
        """
        for _ in range(MOST_ATTEMPTS - 1):
            answer = self._request_once(method, path, body, headers)
            if answer.status != 503 or NOT_COUNTED not in answer.body:
                return answer
        return self._request_once(method, path, body, headers)

    def _request_once(self, method: str, path: str, body: bytes | None, headers: Mapping[str, str] | None) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=LONGEST_WAIT_SECONDS)
        sent = {"Host": f"localhost:{self.port}", **(headers or {})}
        if self.api_key:
            sent.setdefault("Authorization", f"Bearer {self.api_key}")
        if self.jar and "Cookie" not in sent:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        try:
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            answer = Answer(
                response.status,
                tuple((name.lower(), value) for name, value in response.getheaders()),
                response.read(),
            )
        finally:
            connection.close()
        for name, value in answer.headers:
            if name == "set-cookie":
                self._keep(value)
        return answer

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.request("GET", path, headers=headers)

    def post(self, path: str, /, **fields: object) -> Answer:
        """Send a form, as a page of the site does."""
        return self.request(
            "POST",
            path,
            urlencode(fields).encode(),
            {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://localhost:{self.port}"},
        )

    def api(self, method: str, path: str, content: object = None) -> Answer:
        """Call the JSON API; `path` begins after `/api/v1`."""
        if content is None:
            return self.request(method, f"/api/v1{path}")
        return self.request(
            method, f"/api/v1{path}", json.dumps(content).encode(), {"Content-Type": "application/json"}
        )

    def upload(self, path: str, name: bytes, content: bytes, /, **fields: str) -> Answer:
        """Send a file as a multipart form; `name` goes out byte for byte."""
        boundary = f"boundary-{secrets.token_hex(8)}".encode()
        parts = [
            b'Content-Disposition: form-data; name="' + key.encode() + b'"\r\n\r\n' + value.encode()
            for key, value in fields.items()
        ]
        parts.append(
            b'Content-Disposition: form-data; name="file"; filename="' + name + b'"\r\n'
            b"Content-Type: text/html\r\n\r\n" + content
        )
        body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
        return self.request("POST", path, body, {"Content-Type": f"multipart/form-data; boundary={boundary.decode()}"})

    def _keep(self, header: str) -> None:
        name, _, value = header.partition(";")[0].partition("=")
        if "max-age=0" in header.lower() or not value:
            self.jar.pop(name, None)
        else:
            self.jar[name] = value


@dataclass(frozen=True)
class Site:
    """The served application."""

    application: FastAPI
    servers: Servers
    port: int

    @property
    def services(self) -> Services:
        services: Services = self.application.state.services
        return services

    @property
    def address(self) -> str:
        """Where a browser opens it."""
        return f"http://localhost:{self.port}"

    def visitor(self) -> Client:
        """Somebody without a session."""
        return Client("127.0.0.1", self.port)

    def program(self, api_key: str) -> Client:
        """A program that has nothing but a key."""
        return Client("127.0.0.1", self.port, api_key=api_key)

    def member(self, member: Member) -> Client:
        """A client with a new live session of `member`, as long as its access token lives; no password is needed."""
        client = self.visitor()
        client.jar[cookies.ACCESS] = self.access_token(PersonId(member.person_id))
        return client

    def access_token(self, person: PersonId) -> str:
        """The access token of a new session."""
        session, secret = SessionId(new_id()), new_secret()
        with self.servers.as_owner() as owner:
            owner.execute(
                """
                INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent,
                    address, idle_expires_at, absolute_expires_at)
                VALUES (%s, %s, %s, %s, sha256('d'), 'test', '127.0.0.1', now() + interval '7 days',
                    now() + interval '90 days')
                """,
                (session, person, secrets.token_bytes(32), digest(secret)),
            )
        return self.services.tokens.issue_access(person=person, session=session, session_secret=secret)


@contextmanager
def serving(servers: Servers, **changes: object) -> Generator[Site]:
    """Serve the application on a free port of the loopback, with `changes` to its settings."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        port = listener.getsockname()[1]
        settings = servers.settings.model_copy(update={"port": port, "bcrypt_cost": 4, **changes})
        application = build(settings)
        config = uvicorn.Config(
            application,
            loop="uvloop",
            http="httptools",
            log_config=None,
            access_log=False,
            server_header=False,
            # A stream that a test walked away from has nobody to wait for.
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            _wait_for_start(server, thread)
            yield Site(application, servers, port)
        finally:
            server.should_exit = True
            thread.join(LONGEST_WAIT_SECONDS)


def _wait_for_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    for _ in range(LONGEST_WAIT_SECONDS * 20):
        if server.started:
            return
        assert thread.is_alive(), "the application did not start"
        time.sleep(0.05)
    raise AssertionError("the application did not start in time")
