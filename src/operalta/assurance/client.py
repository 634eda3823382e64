"""The observing client: looks at a deployment from outside, as one browser at one network address would."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx2

from operalta.assurance.registry import Answer

ACCESS = "__Host-operalta-access"
REFRESH = "__Host-operalta-refresh"
DEVICE = "__Host-operalta-device"
TICKET = "__Host-operalta-ticket"
SECONDS = 45.0
CONNECTIONS = 8
PAUSES = (0.3, 1.0)
_UNAVAILABLE = 503


class Browser:
    """One browser: its cookies, and the loopback address that it calls from.

    Cookies are kept as `__Host-` ones must be: for this origin alone. No redirect is followed. Connections are kept
    open for as long as the event loop that they were made in runs. A `patient` browser asks again when it is told 503:
    on a busy machine the limiter's store may be late, and that is then refused as promised.
    """

    def __init__(self, base_url: str, tls: ssl.SSLContext, address: str, *, patient: bool = True) -> None:
        self.base_url = base_url
        self.address = address
        self.cookies: dict[str, str] = {}
        self.patient = patient
        self._tls = tls
        self._kept: tuple[asyncio.AbstractEventLoop, httpx2.AsyncClient] | None = None

    def copy(self, address: str | None = None) -> "Browser":
        """Return another browser that holds the same cookies, such as a thief's."""
        other = Browser(self.base_url, self._tls, address or self.address, patient=self.patient)
        other.cookies = dict(self.cookies)
        return other

    async def get(self, path: str, **headers: str) -> Answer:
        """Get a page."""
        return await self.send("GET", path, headers=headers)

    async def post(self, path: str, json: object) -> Answer:
        """Post JSON."""
        return await self.send("POST", path, json=json)

    async def post_form(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Post a form as a page of the product would."""
        sent = {"content-type": "application/x-www-form-urlencoded", "origin": self.base_url} | headers
        return await self.send("POST", path, content=urlencode(fields).encode(), headers=sent)

    async def send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        json: object = None,
        content: bytes | None = None,
    ) -> Answer:
        """Send one request with the browser's cookies, or with `cookies` in their place, and keep what comes back."""
        carried = self.cookies if cookies is None else cookies

        async def ask() -> httpx2.Response:
            named = self._headers(headers, carried)
            return await self._client().request(method, path, headers=named, json=json, content=content)

        answer = await ask()
        for pause in PAUSES if self.patient else ():
            if answer.status_code != _UNAVAILABLE:
                break
            await asyncio.sleep(pause)
            answer = await ask()
        if cookies is None:
            self._keep(answer.headers.get_list("set-cookie"))
        found = tuple((name.lower(), value) for name, value in answer.headers.multi_items())
        return Answer(answer.status_code, found, answer.content)

    @asynccontextmanager
    async def stream(self, path: str) -> AsyncGenerator[tuple[int, AsyncGenerator[str]]]:
        """Open a stream of events: its status, and its lines as they come."""
        async with self._client().stream("GET", path, headers=self._headers(None, self.cookies)) as answer:
            yield answer.status_code, _lines(answer)

    def _client(self) -> httpx2.AsyncClient:
        loop = asyncio.get_running_loop()
        if self._kept is None or self._kept[0] is not loop:
            transport = httpx2.AsyncHTTPTransport(
                verify=self._tls,
                trust_env=False,
                local_address=self.address,
                limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
                retries=1,
            )
            client = httpx2.AsyncClient(
                transport=transport, base_url=self.base_url, follow_redirects=False, trust_env=False, timeout=SECONDS
            )
            self._kept = loop, client
        return self._kept[1]

    def _headers(self, headers: Mapping[str, str] | None, cookies: Mapping[str, str]) -> dict[str, str]:
        sent = {"user-agent": "operalta-verify"} | {
            name.replace("_", "-").lower(): value for name, value in (headers or {}).items()
        }
        if cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return sent

    def _keep(self, set_cookies: list[str]) -> None:
        for line in set_cookies:
            first, *attributes = (part.strip() for part in line.split(";"))
            name, _, value = first.partition("=")
            if "max-age=0" in {attribute.lower() for attribute in attributes}:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value


async def _lines(answer: Any) -> AsyncGenerator[str]:  # noqa: ANN401 - the client's own type is not exported
    async for line in answer.aiter_lines():
        yield line
