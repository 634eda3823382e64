"""A provider's model for pydantic-ai: one request in the provider's wire format, through the door, read as a stream.

What was sent and what came back is in no log and in no refusal. A request that the provider was too busy for is
repeated, with growing pauses, until the route's seconds are used up; never once a piece of the answer has arrived.
"""

import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

import anyio
from pydantic_ai.messages import ModelMessage, ModelResponse, ModelResponseStreamEvent
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import RequestUsage

from operalta.agents.errors import AnswerCutOff, ModelMisbehaved, ProviderBusy, ProviderRefused
from operalta.agents.model_routes.server_sent import json_events
from operalta.agents.model_routes.wire import Called, Ended, Piece, Prompt, Said, Used, WireFormat, redacted
from operalta.agents.model_routes.written import MODELS
from operalta.kernel import clock
from operalta.sandbox.credential import Credential
from operalta.sandbox.destinations import parse_destination
from operalta.sandbox.egress import EgressDoor
from operalta.sandbox.errors import ContentRefused, DestinationRefused, FetchTooLarge
from operalta.sandbox.metering import Errand
from operalta.sandbox.transport import EgressTransport, NetworkFailure
from operalta.terms.registry import upholds

MOST_TRIES = 4
_FIRST_PAUSE = 0.5
_LONGEST_PAUSE = 20.0
_CHARACTERS_PER_TOKEN = 4
_BUSY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_ELSEWHERE = "This model route's address may not be reached from here, or leads elsewhere. Tell the operator."

Pause = Callable[[float], Awaitable[None]]


class Response(Protocol):
    """What is used of the client's response."""

    status_code: int

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a route leads, and what a request there carries."""

    provider: str
    base_url: str
    model: str
    wire: WireFormat
    key: str | None = field(repr=False)
    most_output: int = 4096
    seconds: float = MODELS.seconds

    @property
    def url(self) -> str:
        """What requests are sent to."""
        return self.base_url.rstrip("/") + self.wire.path


class ProviderModel(Model[None]):
    """Asks an endpoint on the errand given, through `door`. `pause` waits between tries."""

    def __init__(self, endpoint: Endpoint, door: EgressDoor, errand: Errand, pause: Pause = anyio.sleep) -> None:
        super().__init__()
        self._endpoint = endpoint
        self._door = door
        self._errand = errand
        self._pause = pause

    @property
    def model_name(self) -> str:
        """The provider's name of the model."""
        return self._endpoint.model

    @property
    def system(self) -> str:
        """The provider."""
        return self._endpoint.provider

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the whole answer."""
        async with self.request_stream(messages, model_settings, model_request_parameters) as stream:
            async for _ in stream:
                pass
            return stream.get()

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,  # noqa: ARG002 - the signature of pydantic-ai's models
    ) -> AsyncGenerator[StreamedResponse]:
        """Ask, and give the answer as it arrives.

        Raise ProviderBusy, ProviderRefused, ModelMisbehaved or AnswerCutOff; and what the meter of the door raises.
        """
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        here = self._endpoint
        prompt = Prompt(here.model, messages, parameters.function_tools, here.most_output)
        body = self._encoded(prompt)
        async with self._opened(body) as response:
            pieces = _pieces(response, here.wire)
            yield ProviderStream(
                model_request_parameters=parameters, endpoint=here, pieces=pieces, sent=len(body), started=clock.now()
            )

    @upholds("5.6.2")
    def _encoded(self, prompt: Prompt) -> bytes:
        """Return the body without what looks like a secret, and without this route's own key."""
        text = json.dumps(redacted(self._endpoint.wire.body(prompt)), ensure_ascii=False)
        key = self._endpoint.key
        return (text.replace(key, "[redacted]") if key else text).encode("utf-8", errors="replace")

    @asynccontextmanager
    async def _opened(self, body: bytes) -> AsyncGenerator[Response]:
        """Give the first answer that is none of being busy."""
        deadline = anyio.current_time() + self._endpoint.seconds
        asked_to_wait: float | None = None
        for tried in range(MOST_TRIES):
            if tried:
                pause = asked_to_wait or _FIRST_PAUSE * 2**tried * random.uniform(0.5, 1)  # noqa: S311 - no secret
                if pause > _LONGEST_PAUSE or anyio.current_time() + pause >= deadline:
                    break
                await self._pause(pause)
            async with self._sent(body, deadline - anyio.current_time()) as (response, asked_to_wait):
                if response is not None:
                    yield response
                    return
        raise ProviderBusy

    @asynccontextmanager
    async def _sent(self, body: bytes, seconds: float) -> AsyncGenerator[tuple[Response | None, float | None]]:
        """Send once. None instead of a response: it was in vain, and for how long the provider wants to be left."""
        transport = self._transport(seconds)
        headers = {**self._endpoint.wire.headers, "content-type": "application/json", "accept": "text/event-stream"}
        async with transport.client() as client:
            request = client.build_request("POST", self._endpoint.url, content=body, headers=headers)
            try:
                response = await client.send(request, stream=True)
            except NetworkFailure:
                yield None, None
                return
            except DestinationRefused:
                raise ProviderRefused(_ELSEWHERE) from None
            except (ContentRefused, FetchTooLarge):
                raise ModelMisbehaved from None
            try:
                if _is_busy(response.status_code):
                    yield None, _seconds_in(response.headers.get("retry-after", ""))
                else:
                    _require_stream(response.status_code, response.headers.get("content-type", ""))
                    yield response, None
            finally:
                with anyio.CancelScope(shield=True):
                    await response.aclose()

    @upholds("5.4.1", "5.6.1", "7.2.2")
    def _transport(self, seconds: float) -> EgressTransport:
        here = self._endpoint
        there = parse_destination(here.url)
        credential = Credential(there.origin, *here.wire.credential(here.key)) if here.key else None
        return EgressTransport(
            self._door,
            replace(MODELS.for_hosts(there.authority), seconds=min(seconds, MODELS.seconds)),
            purpose=self._errand.purpose,
            company_id=self._errand.company_id,
            run_id=self._errand.run_id,
            credential=credential,
        )


@dataclass
class ProviderStream(StreamedResponse):
    """An answer on its way. Where a provider tells no tokens, they are estimated from what was sent and came."""

    endpoint: Endpoint
    pieces: AsyncGenerator[Piece]
    sent: int
    started: datetime

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        came, whole = 0, False
        told = Used()
        async with aclosing(self.pieces) as pieces:
            async for piece in pieces:
                match piece:
                    case Used():
                        told = _newer(told, piece)
                    case Ended(cut_off=True):
                        raise AnswerCutOff
                    case Ended():
                        whole = True
                    case Said(text):
                        came += len(text)
                        for event in self._said(text):
                            yield event
                    case Called():
                        came += len(piece.arguments)
                        for event in self._called(piece):
                            yield event
        if not whole:
            raise ModelMisbehaved
        self._usage = _usage(told, self.sent, came)

    def _said(self, text: str) -> Iterator[ModelResponseStreamEvent]:
        yield from self._parts_manager.handle_text_delta(vendor_part_id="content", content=text)

    def _called(self, piece: Called) -> Iterator[ModelResponseStreamEvent]:
        yield from self._parts_manager.handle_tool_call_delta_events(
            vendor_part_id=piece.place,
            tool_name=piece.tool or None,
            args=piece.arguments or None,
            tool_call_id=piece.call_id or None,
        )

    async def close_stream(self) -> None:
        """End the request."""
        await self.pieces.aclose()

    @property
    def model_name(self) -> str:
        """The provider's name of the model."""
        return self.endpoint.model

    @property
    def provider_name(self) -> str | None:
        """The provider."""
        return self.endpoint.provider

    @property
    def provider_url(self) -> str | None:
        """Where it was asked; kept out of histories, which travel to other providers."""
        return None

    @property
    def timestamp(self) -> datetime:
        """When it was asked."""
        return self.started


async def _pieces(response: Response, wire: WireFormat) -> AsyncGenerator[Piece]:
    try:
        async with aclosing(json_events(response.aiter_bytes())) as events:
            async for event in events:
                for piece in wire.read(event):
                    yield piece
    except NetworkFailure:
        raise ProviderBusy from None
    except (ContentRefused, FetchTooLarge):
        raise ModelMisbehaved from None


def _is_busy(status: int) -> bool:
    return status in _BUSY or status >= HTTPStatus.INTERNAL_SERVER_ERROR


def _require_stream(status: int, content_type: str) -> None:
    if status != HTTPStatus.OK:
        raise ProviderRefused
    if content_type.partition(";")[0].strip().lower() != "text/event-stream":
        raise ModelMisbehaved


def _seconds_in(retry_after: str) -> float | None:
    """Return the seconds that a provider asks for; a date is not heeded."""
    return float(retry_after) if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 6 else None  # noqa: PLR2004


def _newer(told: Used, piece: Used) -> Used:
    incoming = told.input_tokens if piece.input_tokens is None else piece.input_tokens
    outgoing = told.output_tokens if piece.output_tokens is None else piece.output_tokens
    return Used(incoming, outgoing)


def _usage(told: Used, sent: int, came: int) -> RequestUsage:
    incoming = -(-sent // _CHARACTERS_PER_TOKEN) if told.input_tokens is None else told.input_tokens
    outgoing = -(-came // _CHARACTERS_PER_TOKEN) if told.output_tokens is None else told.output_tokens
    return RequestUsage(input_tokens=incoming, output_tokens=outgoing)
