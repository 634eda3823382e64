"""One step of a run: ask a model once, and keep the history as JSON between steps.

The runner drives single requests (`pydantic_ai.direct`) and not the library's own agent loop: each answer is
an event before any of its tools run, the policy stands between the answer and the tools, and a question to a
person may stay open for hours or over a crash. Nothing here keeps state.
"""

import json
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias, cast

from pydantic import ValidationError
from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from operalta.agents.canonical import JsonValue
from operalta.agents.errors import HistoryUnreadable, ModelMisbehaved
from operalta.agents.registry import ToolDeclaration, ToolResult
from operalta.terms.registry import upholds

MOST_CHARACTERS = 60_000
LONGEST_MESSAGE = 150_000  # characters of JSON: the answer is one event
MOST_CALLS = 16
LONGEST_CALL_ID = 200

History: TypeAlias = list[ModelMessage]


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer as it arrives; not final before its ModelTurn."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that the model asks for. `arguments` is None where they were no JSON object."""

    call_id: str
    tool: str
    arguments: Mapping[str, JsonValue] | None


@dataclass(frozen=True, slots=True)
class TurnUsage:
    """Tokens of one request."""

    input_tokens: int
    output_tokens: int

    @property
    def tokens(self) -> int:
        """Both together."""
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class ModelTurn:
    """A whole answer. Without tool calls it is the run's answer. `message_json` restores it in a history."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    usage: TurnUsage
    message_json: str

    @property
    def is_answer(self) -> bool:
        """Whether the run ends with this turn."""
        return not self.tool_calls


class CallOutcome(StrEnum):
    """How a tool call ended, in the words of pydantic-ai's message parts."""

    SUCCESS = "success"
    FAILED = "failed"
    DENIED = "denied"


@dataclass(frozen=True, slots=True)
class CallResult:
    """What the model is told about one of its calls. Made by `succeeded`, `failed` or `denied`."""

    call_id: str
    tool: str
    outcome: CallOutcome
    content: Mapping[str, JsonValue]


def succeeded(call: ToolCall, result: ToolResult) -> CallResult:
    """Return the outcome of a call whose tool ran."""
    outcome = CallOutcome.FAILED if result.failed else CallOutcome.SUCCESS
    return CallResult(call.call_id, call.tool, outcome, cast("Mapping[str, JsonValue]", result.as_json()))


def failed(call: ToolCall, reason: str) -> CallResult:
    """Return the outcome of a call whose tool could not run; `reason` is a public text."""
    return succeeded(call, ToolResult(summary=reason, failed=True))


def denied(call: ToolCall, reason: str) -> CallResult:
    """Return the outcome of a call that the policy or a person refused; `reason` is a public text."""
    content = cast("Mapping[str, JsonValue]", ToolResult(summary=reason, failed=True).as_json())
    return CallResult(call.call_id, call.tool, CallOutcome.DENIED, content)


def begin(prompt: str, instructions: str | None = None, earlier: Sequence[ModelMessage] = ()) -> History:
    """Return the history of a new run: what was said before, then the person's message."""
    return [*earlier, ModelRequest(parts=[UserPromptPart(prompt)], instructions=instructions)]


def with_turn(history: Sequence[ModelMessage], turn: ModelTurn) -> History:
    """Return the history with a model's answer added."""
    return [*history, *load_history(turn.message_json)]


def with_results(
    history: Sequence[ModelMessage], results: Sequence[CallResult], instructions: str | None = None
) -> History:
    """Return the history with the outcomes of the last turn's calls added: one for each, none besides.

    Raise HistoryUnreadable where they do not fit, which a provider would refuse too.
    """
    last = history[-1] if history else None
    asked = [call.call_id for call in _calls_of(last)] if isinstance(last, ModelResponse) else []
    by_id = {result.call_id: result for result in results}
    if not asked or len(by_id) != len(results) or set(by_id) != set(asked):
        raise HistoryUnreadable
    parts: list[ModelRequestPart] = [
        ToolReturnPart(
            tool_name=by_id[call_id].tool,
            content=cast("Any", dict(by_id[call_id].content)),
            tool_call_id=call_id,
            outcome=by_id[call_id].outcome.value,
        )
        for call_id in asked
    ]
    return [*history, ModelRequest(parts=parts, instructions=instructions)]


def open_calls(history: Sequence[ModelMessage]) -> tuple[ToolCall, ...]:
    """Return the calls of the last turn that still wait for their outcome: where a resumed run goes on."""
    last = history[-1] if history else None
    return _calls_of(last) if isinstance(last, ModelResponse) else ()


def answer_in(history: Sequence[ModelMessage]) -> str | None:
    """Return the text of the last turn where it asks for no tool, which is the run's answer; None otherwise."""
    last = history[-1] if history else None
    return _text_in(last) if isinstance(last, ModelResponse) and not _calls_of(last) else None


def dump_history(history: Sequence[ModelMessage]) -> str:
    """Return a history as JSON."""
    return ModelMessagesTypeAdapter.dump_json(list(history)).decode()


def load_history(text: str | bytes) -> History:
    """Return a history from its JSON, or raise HistoryUnreadable."""
    try:
        return ModelMessagesTypeAdapter.validate_json(text)
    except ValidationError:
        raise HistoryUnreadable from None


def definition_of(tool: ToolDeclaration) -> ToolDefinition:
    """Return a tool as a model is told about it."""
    return ToolDefinition(
        name=tool.name, description=tool.purpose, parameters_json_schema=cast("dict[str, Any]", tool.schema)
    )


@upholds("5.6.4")
async def next_step(
    model: Model,
    history: Sequence[ModelMessage],
    tools: Iterable[ToolDeclaration],
    settings: ModelSettings | None = None,
) -> AsyncGenerator[TextDelta | ModelTurn]:
    """Ask `model` once: yield the pieces of its text as they arrive and, last, exactly one ModelTurn.

    Raise ModelMisbehaved for an answer that is cut off, too long, or that cannot be answered call by call.
    What the provider's client raises passes through. Closing the iterator ends the request. Whatever instruments
    models elsewhere in the process, this request leaves no span: spans carry prompts and answers.
    """
    parameters = ModelRequestParameters(function_tools=[definition_of(tool) for tool in tools])
    length = 0
    async with model_request_stream(
        model, list(history), model_settings=settings, model_request_parameters=parameters, instrument=False
    ) as stream:
        async for event in stream:
            text = _text_of(event)
            length += len(text)
            if length > MOST_CHARACTERS:
                raise ModelMisbehaved
            if text:
                yield TextDelta(text)
        response = stream.get()
    yield _turn(response)


def _text_of(event: object) -> str:
    match event:
        case PartStartEvent(part=TextPart(content=text)):
            return text
        case PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _turn(response: ModelResponse) -> ModelTurn:
    calls = _calls_of(response)
    identifiers = [call.call_id for call in calls]
    text = _text_in(response)
    if response.state != "complete" or len(calls) > MOST_CALLS or not (calls or text.strip()):
        raise ModelMisbehaved
    if len(set(identifiers)) != len(identifiers) or not all(0 < len(one) <= LONGEST_CALL_ID for one in identifiers):
        raise ModelMisbehaved
    message = dump_history([response])
    if len(message) > LONGEST_MESSAGE or _holds_nul(json.loads(message)):
        raise ModelMisbehaved
    return ModelTurn(text, calls, TurnUsage(response.usage.input_tokens, response.usage.output_tokens), message)


def _text_in(response: ModelResponse) -> str:
    return "".join(part.content for part in response.parts if isinstance(part, TextPart))


def _holds_nul(value: object) -> bool:
    """Tell whether a text in a JSON value holds NUL, which a JSON column cannot keep."""
    match value:
        case str():
            return "\x00" in value
        case list():
            return any(_holds_nul(one) for one in cast("list[object]", value))
        case dict():
            members = cast("dict[str, object]", value)
            return any(_holds_nul(one) for pair in members.items() for one in pair)
        case _:
            return False


def _calls_of(response: ModelResponse) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(part.tool_call_id, part.tool_name, _arguments(part))
        for part in response.parts
        if isinstance(part, ToolCallPart)
    )


def _arguments(part: ToolCallPart) -> Mapping[str, JsonValue] | None:
    try:
        return cast("Mapping[str, JsonValue]", part.args_as_dict(raise_if_invalid=True))
    except (ValueError, AssertionError):
        return None
