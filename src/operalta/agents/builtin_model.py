"""The built-in route: a model without a language model, a key or a network.

It carries out one explicit command as one tool call and tells the result; it answers a question by searching
the company's memory, files and artifacts and quoting what it finds, with sources. The same history gives the same
answer. To the rest of the product it is a model like any other, and its calls pass the same policy.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponsePart,
    ModelResponseStreamEvent,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from operalta.agents import quoting
from operalta.agents.canonical import JsonValue
from operalta.agents.commands import Command, Help, Malformed, Question, parse
from operalta.agents.route_rules import BUILTIN_ROUTE
from operalta.kernel import clock

_PIECE = 80  # characters a streamed piece
_CHARACTERS_PER_TOKEN = 4


class BuiltinModel(Model[None]):
    """Answers from the message history alone."""

    @property
    def model_name(self) -> str:
        """The name under which events keep its answers."""
        return BUILTIN_ROUTE

    @property
    def system(self) -> str:
        """The provider's name for telemetry: there is none but ourselves."""
        return "operalta"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the next answer or tool calls."""
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        parts = respond(messages, {tool.name for tool in parameters.function_tools})
        return ModelResponse(
            parts=parts, model_name=BUILTIN_ROUTE, timestamp=clock.now(), usage=_usage(messages, parts)
        )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,  # noqa: ARG002 - the signature of pydantic-ai's models
    ) -> AsyncGenerator[StreamedResponse]:
        """Give the next answer in pieces, or the tool calls."""
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        parts = respond(messages, {tool.name for tool in parameters.function_tools})
        yield BuiltinStream(
            model_request_parameters=parameters,
            answer=tuple(parts),
            started=clock.now(),
            used=_usage(messages, parts),
        )


@dataclass
class BuiltinStream(StreamedResponse):
    """An answer that is known whole, handed out in pieces."""

    answer: tuple[ModelResponsePart, ...]
    started: datetime
    used: RequestUsage

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        self._usage = self.used
        for index, part in enumerate(self.answer):
            if isinstance(part, TextPart):
                for at in range(0, len(part.content), _PIECE):
                    for event in self._parts_manager.handle_text_delta(
                        vendor_part_id=index, content=part.content[at : at + _PIECE]
                    ):
                        yield event
            else:
                yield self._parts_manager.handle_part(vendor_part_id=index, part=part)

    async def close_stream(self) -> None:
        """Do nothing: there is no connection."""

    @property
    def model_name(self) -> str:
        """The model's name."""
        return BUILTIN_ROUTE

    @property
    def provider_name(self) -> None:
        """There is no provider."""
        return

    @property
    def provider_url(self) -> None:
        """There is no provider."""
        return

    @property
    def timestamp(self) -> datetime:
        """When the answer was begun."""
        return self.started


def respond(messages: Sequence[ModelMessage], tools: Iterable[str]) -> list[ModelResponsePart]:
    """Return the next parts for a history: tool calls first, and what they gave as text after that."""
    prompt, results, turns = _since_last_prompt(messages)
    usable = frozenset(tools)
    parsed = parse(prompt)
    match parsed:
        case Command():
            if results:
                return [TextPart(_tell(results))]
            if parsed.tool not in usable:
                return [TextPart(f"This agent may not use the tool {parsed.tool}. An administrator can grant it.")]
            return [_call(parsed.tool, dict(parsed.arguments), turns, 0)]
        case Help():
            return [TextPart(quoting.help_text())]
        case Malformed():
            return [TextPart(parsed.advice)]
        case Question():
            return _answer(parsed.text, results, usable, turns)


def _answer(
    question: str, results: Sequence[ToolReturnPart], usable: frozenset[str], turns: int
) -> list[ModelResponsePart]:
    if results:
        found = [one for part in results if part.outcome == "success" for one in _references(part)]
        gaps = [_summary(part) for part in results if part.outcome != "success"]
        return [TextPart(quoting.quote(found, gaps))]
    words = quoting.keywords(question)
    searches = [name for name in ("memory_search", "files_search", "artifact_search") if name in usable]
    if not words or not searches:
        return [TextPart(quoting.quote(()))]
    return [_call(name, {"query": words}, turns, at) for at, name in enumerate(searches)]


def _references(part: ToolReturnPart) -> tuple[quoting.Reference, ...]:
    return quoting.references_in(part.content)


def _tell(results: Sequence[ToolReturnPart]) -> str:
    part = results[-1]
    if part.outcome == "success":
        return quoting.report(part.content)
    opening = "This was not done" if part.outcome == "denied" else "This did not work"
    return f"{opening}. {quoting.as_plain(_summary(part))}"


def _summary(part: ToolReturnPart) -> str:
    return quoting.text_in(part.content, "summary") or str(part.content)


def _call(tool: str, arguments: dict[str, JsonValue], turns: int, at: int) -> ToolCallPart:
    return ToolCallPart(tool, dict(arguments), tool_call_id=f"{BUILTIN_ROUTE}-{turns}-{at}")


def _since_last_prompt(messages: Sequence[ModelMessage]) -> tuple[str, list[ToolReturnPart], int]:
    """Return the last thing a person said, the tool results since, and how many answers came before all."""
    prompt = ""
    results: list[ToolReturnPart] = []
    for message in messages:
        if not isinstance(message, ModelRequest):
            continue
        for part in message.parts:
            if isinstance(part, UserPromptPart):
                prompt, results = _text(part), []
            elif isinstance(part, ToolReturnPart):
                results.append(part)
    return prompt, results, sum(isinstance(message, ModelResponse) for message in messages)


def _text(part: UserPromptPart) -> str:
    if isinstance(part.content, str):
        return part.content
    return "\n".join(piece for piece in part.content if isinstance(piece, str))


def _usage(messages: Sequence[ModelMessage], parts: Sequence[ModelResponsePart]) -> RequestUsage:
    """Count as a provider would, roughly, so that limits on tokens mean something on this route too."""
    prompt, results, _ = _since_last_prompt(messages)
    read = len(prompt) + sum(len(part.model_response_str()) for part in results)
    written = sum(len(part.content) if isinstance(part, TextPart) else _PIECE for part in parts)
    return RequestUsage(
        input_tokens=read // _CHARACTERS_PER_TOKEN + 1, output_tokens=written // _CHARACTERS_PER_TOKEN + 1
    )
