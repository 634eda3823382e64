"""What an integration's author hands over: tools and collections as declared, and how records are read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from operalta.agents.records import UNBOUND, Bindings, Collection, Record
from operalta.agents.registry import SinkType, ToolClass, ToolDeclaration

Text = Annotated[str, StringConstraints(max_length=20_000)]
Line = Annotated[str, StringConstraints(max_length=2_000)]
Name = Annotated[str, StringConstraints(max_length=400)]
Names = Annotated[list[Name], Field(max_length=50)]
Amount = Annotated[float, Field(ge=-1e12, le=1e12)]


class Arguments(BaseModel):
    """What all tools' arguments share."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Arguments):
    """A tool without arguments."""


def _no_reads() -> Mapping[str, str]:
    return MappingProxyType({})


def _as_they_are(_tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return dict(arguments)


@dataclass(frozen=True, slots=True)
class Integration:
    """One service. `records` reads its collections whole; `own` are the person's addresses there.

    `hears` names the tools whose result is messages of a collection. `fit` turns arguments as AgentDojo writes them
    into those that are declared.
    """

    suite: str
    tools: tuple[ToolDeclaration, ...]
    collections: tuple[Collection, ...]
    records: Callable[[Any], Mapping[str, Sequence[Record]]]
    own: Callable[[Any], frozenset[str]]
    hears: Mapping[str, str] = field(default_factory=_no_reads)
    fit: Callable[[str, Mapping[str, Any]], dict[str, Any]] = _as_they_are

    def tool(self, name: str) -> ToolDeclaration:
        """Return a tool by its name."""
        return next(one for one in self.tools if one.name == name)


def read(name: str, arguments: type[Arguments] = Nothing, **sinks: SinkType) -> ToolDeclaration:
    """Declare a tool that only reads what the person may read."""
    return declare(name, ToolClass.READ, arguments, sinks)


def declare(
    name: str,
    tool_class: ToolClass,
    arguments: type[Arguments],
    sinks: Mapping[str, SinkType],
    verbs: str = "",
    *,
    bindings: Bindings = UNBOUND,
    reversible: bool = False,
) -> ToolDeclaration:
    """Declare a tool."""
    return ToolDeclaration(
        name=name,
        title=name.replace("_", " "),
        purpose=name.replace("_", " "),
        tool_class=tool_class,
        permission="integrations:use",
        arguments=arguments,
        sinks=sinks,
        verbs=frozenset(verbs.split()),
        bindings=bindings,
        reversible=reversible,
    )


def words(text: str) -> frozenset[str]:
    """Return the words of a text, for labels and nouns."""
    return frozenset(text.split())


def as_records(models: Sequence[Any]) -> list[Record]:
    """Return Pydantic models as records: dates as YYYY-MM-DD HH:MM, all else as JSON."""
    return [_record(one.model_dump()) for one in models]


def _record(fields: Mapping[str, Any]) -> Record:
    return {
        name: value.strftime("%Y-%m-%d %H:%M") if hasattr(value, "strftime") else value
        for name, value in fields.items()
    }
