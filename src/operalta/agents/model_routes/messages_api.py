"""Messages: the wire format of Anthropic. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from operalta.agents.errors import ModelMisbehaved
from operalta.agents.model_routes.wire import (
    Called,
    Ended,
    JsonObject,
    Piece,
    Prompt,
    Said,
    Used,
    count_at,
    fitting_id,
    instructions_in,
    object_at,
    place_at,
    text_at,
    text_of_return,
)

_VERSION = "2023-06-01"
_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_LENGTH_OF_ID = 32
_INPUT_COUNTS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")


@dataclass(frozen=True, slots=True)
class Messages:
    """The format. It has no switch against training: that is for the contract, and for the approval record."""

    path: str = "/messages"
    headers: Mapping[str, str] = field(default_factory=lambda: {"anthropic-version": _VERSION})

    def credential(self, key: str) -> tuple[str, str]:
        """Return the header field that carries the key."""
        return "x-api-key", key

    def body(self, prompt: Prompt) -> JsonObject:
        """Return the request's body."""
        body: JsonObject = {
            "model": prompt.model,
            "max_tokens": prompt.most_output,
            "messages": _messages(prompt.messages),
            "stream": True,
        }
        instructions = instructions_in(prompt.messages)
        if instructions:
            body["system"] = instructions
        if prompt.tools:
            body["tools"] = [
                {"name": tool.name, "description": tool.description, "input_schema": tool.parameters_json_schema}
                for tool in prompt.tools
            ]
        return body

    def read(self, event: JsonObject) -> Iterator[Piece]:
        """Return what one event says. Kinds that are not known are passed over, as the provider asks."""
        match text_at(event, "type"):
            case "message_start":
                usage = object_at(object_at(event, "message"), "usage")
                yield Used(sum(count_at(usage, name) or 0 for name in _INPUT_COUNTS), count_at(usage, "output_tokens"))
            case "content_block_start":
                yield from _begun(event)
            case "content_block_delta":
                yield from _continued(event)
            case "message_delta":
                yield Used(None, count_at(object_at(event, "usage"), "output_tokens"))
                if text_at(object_at(event, "delta"), "stop_reason") == "max_tokens":
                    yield Ended(cut_off=True)
            case "message_stop":
                yield Ended()
            case "error":
                raise ModelMisbehaved
            case _:
                pass


def _begun(event: JsonObject) -> Iterator[Piece]:
    block = object_at(event, "content_block")
    match text_at(block, "type"):
        case "text" if text_at(block, "text"):
            yield Said(text_at(block, "text"))
        case "tool_use":
            yield Called(place_at(event, 0), text_at(block, "id"), text_at(block, "name"), "")
        case _:
            pass


def _continued(event: JsonObject) -> Iterator[Piece]:
    delta = object_at(event, "delta")
    match text_at(delta, "type"):
        case "text_delta":
            yield Said(text_at(delta, "text"))
        case "input_json_delta":
            yield Called(place_at(event, 0), "", "", text_at(delta, "partial_json"))
        case _:
            pass


def _messages(messages: Sequence[ModelMessage]) -> list[JsonObject]:
    """Return the messages, those of one side that follow each other made one."""
    written: list[JsonObject] = []
    for message in messages:
        role = "user" if isinstance(message, ModelRequest) else "assistant"
        blocks = [block for part in message.parts if (block := _block(part)) is not None]
        if not blocks:
            continue
        if written and written[-1]["role"] == role:
            cast("list[JsonObject]", written[-1]["content"]).extend(blocks)
        else:
            written.append({"role": role, "content": blocks})
    return written


def _block(part: object) -> JsonObject | None:
    match part:
        case UserPromptPart(content=content):
            return {"type": "text", "text": str(content)}
        case TextPart(content=text) if text.strip():
            return {"type": "text", "text": text}
        case ToolCallPart():
            call = cast("ToolCallPart[Any]", part)
            identifier = fitting_id(call.tool_call_id, _ID, _LENGTH_OF_ID)
            return {"type": "tool_use", "id": identifier, "name": call.tool_name, "input": _arguments(call)}
        case ToolReturnPart():
            gave = cast("ToolReturnPart[Any]", part)
            identifier = fitting_id(gave.tool_call_id, _ID, _LENGTH_OF_ID)
            result: JsonObject = {"type": "tool_result", "tool_use_id": identifier, "content": text_of_return(gave)}
            return result if gave.outcome == "success" else {**result, "is_error": True}
        case _:
            return None


def _arguments(part: ToolCallPart[Any]) -> dict[str, Any]:
    try:
        return part.args_as_dict(raise_if_invalid=True)
    except (ValueError, AssertionError):
        return {}  # the call was answered with what was wrong with it
