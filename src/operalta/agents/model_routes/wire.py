"""What both wire formats share: the pieces of an answer, and what a format has to be able to do. Pure."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol, cast

from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart
from pydantic_ai.tools import ToolDefinition

from operalta.agents.errors import ModelMisbehaved
from operalta.kernel.logging import without_secrets

JsonObject = dict[str, Any]
MOST_PARTS = 64


@dataclass(frozen=True, slots=True)
class Said:
    """A piece of text."""

    text: str


@dataclass(frozen=True, slots=True)
class Called:
    """A piece of a tool call; `place` tells which one. What it does not carry is empty."""

    place: int
    call_id: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Used:
    """Tokens of the request so far; None where this piece does not tell."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """The provider says that the answer is whole, or that it was cut off."""

    cut_off: bool = False


Piece = Said | Called | Used | Ended


@dataclass(frozen=True, slots=True)
class Prompt:
    """What is asked: the provider's name of the model, and how long the answer may be at most, in tokens."""

    model: str
    messages: Sequence[ModelMessage]
    tools: Sequence[ToolDefinition]
    most_output: int


class WireFormat(Protocol):
    """How one kind of provider is spoken to."""

    @property
    def path(self) -> str:
        """What follows the base URL."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """What each request carries besides."""
        ...

    def body(self, prompt: Prompt) -> JsonObject:
        """Return the request's body; the answer is asked for as a stream."""
        ...

    def credential(self, key: str) -> tuple[str, str]:
        """Return the header field that carries the key."""
        ...

    def read(self, event: JsonObject) -> Iterator[Piece]:
        """Return what one event of the stream says. Raise ModelMisbehaved for one that says nothing usable."""
        ...


def instructions_in(messages: Sequence[ModelMessage]) -> str | None:
    """Return the instructions that hold now: those of the last request that has any."""
    for message in reversed(messages):
        if isinstance(message, ModelRequest) and message.instructions:
            return message.instructions
    return None


def text_of_return(part: ToolReturnPart[Any]) -> str:
    """Return what a tool gave as text."""
    content: object = part.content
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)


def fitting_id(call_id: str, shape: re.Pattern[str], length: int) -> str:
    """Return a call's id as it is where a provider takes it, else one made from it: another route may have made it."""
    return call_id if shape.fullmatch(call_id) else sha256(call_id.encode()).hexdigest()[:length]


def redacted(value: Any) -> Any:  # noqa: ANN401 - any JSON in, the same JSON out
    """Return JSON data with everything taken out of its texts that looks like a secret."""
    match value:
        case str():
            return without_secrets(value)
        case dict():
            return {key: redacted(each) for key, each in cast("JsonObject", value).items()}
        case list():
            return [redacted(each) for each in cast("list[Any]", value)]
        case _:
            return value


def object_at(holder: Mapping[str, Any], name: str) -> JsonObject:
    """Return the object under `name`, an empty one where there is none. Raise ModelMisbehaved for anything else."""
    found = holder.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ModelMisbehaved
    return cast("JsonObject", found)


def text_at(holder: Mapping[str, Any], name: str) -> str:
    """Return the text under `name`, empty where there is none. Raise ModelMisbehaved for anything else."""
    found = holder.get(name)
    if found is not None and not isinstance(found, str):
        raise ModelMisbehaved
    return found or ""


def count_at(holder: Mapping[str, Any], name: str) -> int | None:
    """Return the count under `name`, None where there is none. Raise ModelMisbehaved for anything else."""
    found = holder.get(name)
    if found is not None and (not isinstance(found, int) or isinstance(found, bool) or not 0 <= found < 10**9):
        raise ModelMisbehaved
    return found


def place_at(holder: Mapping[str, Any], otherwise: int) -> int:
    """Return which part of the answer an event is about. Raise ModelMisbehaved where there would be too many."""
    place = count_at(holder, "index")
    place = otherwise if place is None else place
    if place >= MOST_PARTS:
        raise ModelMisbehaved
    return place
