"""Chat completions: the wire format of OpenAI, of Mistral, and of servers such as Ollama and vLLM. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.tools import ToolDefinition

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
from operalta.terms.registry import upholds

_ANY_ID = re.compile(r"[\x21-\x7e]{1,64}")
_MISTRAL_ID = re.compile(r"[a-zA-Z0-9]{9}")
_LENGTH_OF_ID = 9


@dataclass(frozen=True, slots=True)
class ChatCompletions:
    """The format, and in what a provider's differs.

    `extra` goes into each request as it is; `limit_name` is what the longest answer is called; `call_id` is the shape
    of ids of tool calls.
    """

    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    limit_name: str = "max_tokens"
    call_id: re.Pattern[str] = _ANY_ID
    path: str = "/chat/completions"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def credential(self, key: str) -> tuple[str, str]:
        """Return the header field that carries the key."""
        return "authorization", f"Bearer {key}"

    def body(self, prompt: Prompt) -> JsonObject:
        """Return the request's body."""
        body: JsonObject = {
            "model": prompt.model,
            "messages": self._messages(prompt.messages),
            "stream": True,
            self.limit_name: prompt.most_output,
            **self.extra,
        }
        if prompt.tools:
            body["tools"] = [_tool(tool) for tool in prompt.tools]
        return body

    def read(self, event: JsonObject) -> Iterator[Piece]:
        """Return what one chunk says."""
        if event.get("error"):
            raise ModelMisbehaved
        usage = object_at(event, "usage")
        if usage:
            yield Used(count_at(usage, "prompt_tokens"), count_at(usage, "completion_tokens"))
        choices: object = event.get("choices") or []
        if not isinstance(choices, list):
            raise ModelMisbehaved
        for choice in cast("list[object]", choices)[:1]:
            if not isinstance(choice, dict):
                raise ModelMisbehaved
            yield from _choice(cast("JsonObject", choice))

    def _messages(self, messages: Sequence[ModelMessage]) -> list[JsonObject]:
        instructions = instructions_in(messages)
        written: list[JsonObject] = [{"role": "system", "content": instructions}] if instructions else []
        for message in messages:
            written.extend(self._asked(message) if isinstance(message, ModelRequest) else self._answered(message))
        return written

    def _asked(self, message: ModelRequest) -> Iterator[JsonObject]:
        for part in message.parts:
            if isinstance(part, UserPromptPart):
                yield {"role": "user", "content": str(part.content)}
            elif isinstance(part, ToolReturnPart):
                yield {"role": "tool", "tool_call_id": self._id(part.tool_call_id), "content": text_of_return(part)}

    def _answered(self, message: ModelResponse) -> Iterator[JsonObject]:
        text = "".join(part.content for part in message.parts if isinstance(part, TextPart))
        calls = [
            {
                "id": self._id(part.tool_call_id),
                "type": "function",
                "function": {"name": part.tool_name, "arguments": part.args_as_json_str()},
            }
            for part in message.parts
            if isinstance(part, ToolCallPart)
        ]
        if calls:
            yield {"role": "assistant", "content": text or None, "tool_calls": calls}
        elif text:
            yield {"role": "assistant", "content": text}

    def _id(self, call_id: str) -> str:
        return fitting_id(call_id, self.call_id, _LENGTH_OF_ID)


@upholds("5.6.2")
def openai_format() -> ChatCompletions:
    """Return the format of OpenAI itself: what is sent is not to be stored."""
    return ChatCompletions(
        {"store": False, "stream_options": {"include_usage": True}}, limit_name="max_completion_tokens"
    )


def mistral_format() -> ChatCompletions:
    """Return the format of Mistral: it refuses fields that it does not know, and ids of other lengths."""
    return ChatCompletions(call_id=_MISTRAL_ID)


def compatible_format() -> ChatCompletions:
    """Return what servers that imitate OpenAI's have in common."""
    return ChatCompletions({"stream_options": {"include_usage": True}})


def _tool(tool: ToolDefinition) -> JsonObject:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters_json_schema}
    return {"type": "function", "function": function}


def _choice(choice: JsonObject) -> Iterator[Piece]:
    delta = object_at(choice, "delta")
    text = text_at(delta, "content") or text_at(delta, "refusal")
    if text:
        yield Said(text)
    calls: object = delta.get("tool_calls") or []
    if not isinstance(calls, list):
        raise ModelMisbehaved
    for at, call in enumerate(cast("list[object]", calls)):
        if not isinstance(call, dict):
            raise ModelMisbehaved
        piece = cast("JsonObject", call)
        function = object_at(piece, "function")
        yield Called(
            place_at(piece, at), text_at(piece, "id"), text_at(function, "name"), text_at(function, "arguments")
        )
    reason = text_at(choice, "finish_reason")
    if reason:
        yield Ended(cut_off=reason in {"length", "model_length", "error"})
