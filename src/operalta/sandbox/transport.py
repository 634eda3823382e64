"""The door as a transport of `httpx2`, for clients with an HTTP layer of their own: model routes, MCP."""

from collections.abc import AsyncIterable, AsyncIterator

import anyio
import httpx2

from operalta.kernel.ids import CompanyId, RunId
from operalta.sandbox.credential import Credential
from operalta.sandbox.destinations import Destination, Rule, parse_destination, refuse
from operalta.sandbox.egress import (
    EgressDoor,
    location_of,
    require_sendable,
    sendable_fields,
)
from operalta.sandbox.errors import FetchFailed, FetchTimedOut, InvalidRequest
from operalta.sandbox.exchange import Answer, Outgoing
from operalta.sandbox.metering import Errand
from operalta.sandbox.policies import EgressPolicy
from operalta.terms.registry import upholds

NetworkFailure = httpx2.TransportError
"""What a client's caller sees of a failure of the network; the door's own refusal is its cause."""

# What a client writes of its own accord and the door writes anew.
_REWRITTEN = frozenset({"accept-encoding", "connection", "content-length", "host", "transfer-encoding"})
# What the door has undone already, and what the client would keep and send again: nothing here has a jar.
_NOT_HANDED_ON = frozenset({b"content-encoding", b"content-length", b"set-cookie", b"set-cookie2"})


@upholds("5.4.1", "5.4.2", "5.4.3")
class EgressTransport(httpx2.AsyncBaseTransport):
    """Sends every request of an `httpx2.AsyncClient` through `door`, under the policy `surface`.

    `client` makes the client. A `credential` goes with every request to its own origin. Bodies are sent whole; answers
    are streamed. Redirects to another origin are refused. A refusal is raised as ours; a failure of the network as the
    client knows it (`httpx2.ConnectError`, `httpx2.ReadTimeout`).
    """

    def __init__(
        self,
        door: EgressDoor,
        surface: EgressPolicy,
        *,
        purpose: str,
        company_id: CompanyId | None = None,
        run_id: RunId | None = None,
        credential: Credential | None = None,
    ) -> None:
        self._door = door
        self._credential = credential
        self._surface = surface
        self._errand = Errand(purpose, company_id, run_id)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send `request` and return its answer, with the body still to be read."""
        headers = sendable_fields(
            (name, value) for name, value in request.headers.multi_items() if name.lower() not in _REWRITTEN
        )
        body = await self._whole_body(request)
        deadline = anyio.current_time() + self._surface.seconds
        try:
            answer, here = await self._door.open(
                str(request.url),
                Outgoing(request.method.upper(), headers, body),
                self._surface,
                self._errand,
                deadline=deadline,
                credential=self._credential,
            )
        except FetchFailed as error:
            raise _as_client_knows(error, request) from error
        try:
            _require_same_origin(location_of(answer), here)
        except BaseException as error:
            await answer.aclose(error)
            raise
        kept = [item for item in answer.headers if item[0] not in _NOT_HANDED_ON]
        return httpx2.Response(answer.status, headers=kept, stream=_AnswerStream(answer, request))

    def client(self) -> httpx2.AsyncClient:
        """Return a client that sends through this transport alone, heedless of the environment."""
        return httpx2.AsyncClient(transport=self, trust_env=False, timeout=self._surface.seconds)

    async def _whole_body(self, request: httpx2.Request) -> bytes | None:
        if not isinstance(request.stream, AsyncIterable):
            raise InvalidRequest
        body = bytearray()
        async for chunk in request.stream:
            body += chunk
            require_sendable(body, self._surface)
        return bytes(body) or (b"" if "content-length" in request.headers else None)


def _require_same_origin(location: str, here: Destination) -> None:
    if location and parse_destination(location, here.href).origin != here.origin:
        raise refuse(Rule.HOST)


class _AnswerStream(httpx2.AsyncByteStream):
    def __init__(self, answer: Answer, request: httpx2.Request) -> None:
        self._answer = answer
        self._request = request
        self._error: BaseException | None = None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.unpacked_chunks():
                yield chunk
        except FetchFailed as error:
            self._error = error
            raise _as_client_knows(error, self._request) from error
        except BaseException as error:
            self._error = error
            raise

    async def aclose(self) -> None:
        await self._answer.aclose(self._error)


def _as_client_knows(error: FetchFailed, request: httpx2.Request) -> httpx2.TransportError:
    kind = httpx2.ReadTimeout if isinstance(error, FetchTimedOut) else httpx2.ConnectError
    return kind(error.public_text, request=request)
