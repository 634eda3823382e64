"""The closed registry of tools: what an agent can ask for, and what each tool's author declares about it.

What is not in it does not exist: names are compared exactly, so that a look-alike, another case or another
Unicode form is an unknown tool, and unknown tools are denied by the policy.
"""

import functools
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, TypeAlias, TypedDict, cast

from pydantic import BaseModel

from operalta.agents.argument_schema import is_bounded, is_closed
from operalta.agents.canonical import JsonValue, canonical_bytes
from operalta.agents.records import UNBOUND, Bindings
from operalta.terms.registry import upholds

_NAME = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*\Z", re.ASCII)
_PERMISSION = re.compile(r"[a-z]+:[a-z]+\Z", re.ASCII)
_MAXIMUM_NAME = 64
LONGEST_SUMMARY = 2_000
LONGEST_CONTENT = 100_000
LONGEST_EXCERPT = 2_000
MOST_REFERENCES = 50


class ToolClass(StrEnum):
    """What a tool does to the world, declared by its author."""

    READ = "read"
    DELEGATE = "delegate"
    WRITE_OWN = "write_own"
    WRITE_SHARED = "write_shared"
    EGRESS = "egress"
    EXECUTE = "execute"
    MONEY = "money"
    IDENTITY = "identity"
    PUBLISH = "publish"
    DESTROY = "destroy"

    @property
    def is_sensitive(self) -> bool:
        """Whether a person must always be asked, whatever else speaks for the call."""
        return self in _SENSITIVE

    @property
    def reaches_outside(self) -> bool:
        """Whether no transaction undoes what it does, so that one that was interrupted may have happened."""
        return self in {ToolClass.EGRESS, ToolClass.EXECUTE}


_SENSITIVE = frozenset({ToolClass.EXECUTE, ToolClass.MONEY, ToolClass.IDENTITY, ToolClass.PUBLISH, ToolClass.DESTROY})


class SinkType(StrEnum):
    """What an argument is, so that the policy knows which words of a person can vouch for it.

    `CHOICE` is for an argument without room for text: a closed list, a yes or no, a bounded number. A `MOMENT` is a
    date, or a date and a time, as YYYY-MM-DD HH:MM.
    """

    PERSON = "person"
    ADDRESS = "address"
    ACCOUNT = "account"
    URL = "url"
    AMOUNT = "amount"
    PATH = "path"
    RECORD = "record"
    MOMENT = "moment"
    BODY = "body"
    QUERY = "query"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Reference:
    """Something that a tool's result came from, to be cited.

    `kind` is memory, file, artifact, metric or web; `reference` the id, slug, path or URL; `excerpt` the words quoted.
    """

    kind: str
    reference: str
    title: str
    excerpt: str = ""


class ReferenceContent(TypedDict):
    """A Reference as JSON."""

    kind: str
    reference: str
    title: str
    excerpt: str


class ResultContent(TypedDict):
    """A ToolResult as JSON: what an event keeps and what the model is shown."""

    summary: str
    content: str
    references: list[ReferenceContent]
    from_outside: bool
    failed: bool


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gives back.

    `summary` is one sentence for people. `content` is what the model reads. `from_outside` marks what people
    outside the company may have written. `failed` says that nothing was done, with the reason in `summary`.
    """

    summary: str
    content: str = ""
    references: tuple[Reference, ...] = ()
    from_outside: bool = False
    failed: bool = False

    def as_json(self) -> ResultContent:
        """Return the result as JSON that an event can keep: bounded, and without what JSON columns refuse.

        What is cut says so; NUL and lone surrogates become U+FFFD.
        """
        return {
            "summary": _kept(self.summary, LONGEST_SUMMARY),
            "content": _kept(self.content, LONGEST_CONTENT),
            "references": [
                {
                    "kind": _kept(one.kind, LONGEST_EXCERPT),
                    "reference": _kept(one.reference, LONGEST_EXCERPT),
                    "title": _kept(one.title, LONGEST_EXCERPT),
                    "excerpt": _kept(one.excerpt, LONGEST_EXCERPT),
                }
                for one in self.references[:MOST_REFERENCES]
            ],
            "from_outside": self.from_outside,
            "failed": self.failed,
        }


def _kept(text: str, longest: int) -> str:
    kept = text[:longest].replace("\x00", "\ufffd").encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    return kept if len(text) <= longest else f"{kept}\n[{len(text) - longest} more characters are not shown]"


# The scope is `db.Scope`; a tool's service function checks it, the registry only passes it on.
ToolRun: TypeAlias = Callable[[Any, Any], Awaitable[ToolResult]]


@dataclass(frozen=True, slots=True)
class ToolDeclaration:
    """A tool as its author declares it.

    `purpose` is what the model reads. `permission` is what the person for whom the agent works must hold.
    `arguments` is a Pydantic model that forbids unknown fields and bounds the known ones. `sinks` types its
    fields; a field without a type is asked about. `asks_unless` names the only values of some arguments with which a
    call may pass without asking, whatever else speaks for it; with an empty set, none does. `verbs` are the words that
    mean this tool. `bindings` say how arguments hang on records and on what was dictated. `own_folder` is where a new
    private file is the person's own space. `absent_because` says why the tool cannot work here. `run` is bound at
    wiring and takes `(scope, arguments)`.
    """

    name: str
    title: str
    purpose: str
    tool_class: ToolClass
    permission: str
    arguments: type[BaseModel]
    sinks: Mapping[str, SinkType]
    verbs: frozenset[str] = frozenset()
    asks_unless: Mapping[str, frozenset[str]] | None = None
    reversible: bool = False
    bindings: Bindings = UNBOUND
    own_folder: str | None = None
    absent_because: str | None = None
    run: ToolRun | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        """Refuse a declaration that the policy could not rely on."""
        if len(self.name) > _MAXIMUM_NAME or not _NAME.match(self.name):
            raise ValueError(f"a tool's name is lower-case ASCII words joined by _: {self.name!r}")
        if not _PERMISSION.match(self.permission):
            raise ValueError(f"{self.name}: a permission reads room:verb")
        if self.arguments.model_config.get("extra") != "forbid":
            raise ValueError(f"{self.name}: the arguments must forbid unknown fields")
        if not set(self.sinks) <= set(self.arguments.model_fields):
            raise ValueError(f"{self.name}: sinks are declared for arguments that do not exist")
        if not set(self.asks_unless or ()) <= set(self.arguments.model_fields):
            raise ValueError(f"{self.name}: it asks because of arguments that do not exist")
        if not self.bindings.arguments <= set(self.sinks):
            raise ValueError(f"{self.name}: bindings are declared for arguments without a type")
        self._check_schema()

    def _check_schema(self) -> None:
        schema = self.schema
        for argument, sink in self.sinks.items():
            if sink is SinkType.CHOICE and not is_closed(schema, argument):
                raise ValueError(f"{self.name}: {argument} leaves room for text, so it is no choice")
        for argument in self.arguments.model_fields:
            if not is_bounded(schema, argument):
                raise ValueError(f"{self.name}: {argument} needs a longest length")

    @property
    def schema(self) -> dict[str, JsonValue]:
        """The JSON schema of the arguments."""
        return cast("dict[str, JsonValue]", json.loads(_schema_text(self.arguments)))

    @property
    def always_asks(self) -> bool:
        """Whether no call passes without a person's approval."""
        return self.tool_class.is_sensitive or any(not values for values in (self.asks_unless or {}).values())

    @upholds("5.5.1")
    def asks_each_time(self, arguments: Mapping[str, JsonValue]) -> bool:
        """Tell whether a person is asked about this call whatever speaks for it: their words, or a grant of theirs."""
        return any(arguments.get(name) not in values for name, values in (self.asks_unless or {}).items())

    @property
    def available(self) -> bool:
        """Whether the tool can work on this deployment."""
        return self.absent_because is None


@functools.lru_cache(maxsize=256)
def _schema_text(arguments: type[BaseModel]) -> str:
    """Return the schema of an arguments model: to derive it takes a hundred times longer than to read it again."""
    return json.dumps(arguments.model_json_schema())


@dataclass(frozen=True, slots=True)
class UnknownTool:
    """The answer for a name that the registry does not hold."""

    name: str


class ToolRegistry:
    """The tools of the deployment, by exact name. Closed: `seal()` ends declaring and binding."""

    def __init__(self) -> None:
        """Start empty."""
        self._tools: dict[str, ToolDeclaration] = {}
        self._sealed = False

    def declare(self, declaration: ToolDeclaration) -> None:
        """Add a tool; a name is given once."""
        self._must_be_open()
        if declaration.name in self._tools:
            raise ValueError(f"{declaration.name} is declared twice")
        self._tools[declaration.name] = declaration

    def bind(self, name: str, run: ToolRun) -> None:
        """Give a declared tool the function that does its work."""
        self._must_be_open()
        self._tools[name] = replace(self._tools[name], run=run)

    def mark_absent(self, name: str, reason: str) -> None:
        """Say that a declared tool cannot work on this deployment, and why."""
        self._must_be_open()
        self._tools[name] = replace(self._tools[name], absent_because=reason)

    def mark_present(self, name: str) -> None:
        """Say that a tool declared as absent works on this deployment after all."""
        self._must_be_open()
        self._tools[name] = replace(self._tools[name], absent_because=None)

    def seal(self) -> None:
        """Close the registry. Raise ValueError where a tool that is present has no function."""
        unbound = [tool.name for tool in self if tool.available and tool.run is None]
        if unbound:
            raise ValueError(f"no function is bound for {', '.join(unbound)}")
        self._sealed = True

    @upholds("5.5.2")
    def resolve(self, name: str) -> ToolDeclaration | UnknownTool:
        """Return the tool of exactly this name; anything else is unknown. Never raises."""
        return self._tools.get(name) or UnknownTool(name)

    def __iter__(self) -> Iterator[ToolDeclaration]:
        """Yield the tools in the order of their declaration."""
        return iter(self._tools.values())

    def _must_be_open(self) -> None:
        if self._sealed:
            raise RuntimeError("the registry is sealed: tools are declared at wiring only")


@upholds("5.5.2")
def tool_hash(declaration: ToolDeclaration) -> str:
    """Return the SHA-256, in hex, over all that decides what a call means.

    That is name, purpose, argument schema, class, permission, sinks, lexicon, own folder, reversibility, what is
    asked about whatever speaks for it, and the bindings where there are any.
    An approval or a pin made for one hash is void for another (a tool redefined after approval).
    """
    facts: dict[str, JsonValue] = {
        "name": declaration.name,
        "purpose": declaration.purpose,
        "schema": declaration.schema,
        "class": declaration.tool_class.value,
        "permission": declaration.permission,
        "sinks": {argument: sink.value for argument, sink in declaration.sinks.items()},
        "verbs": list[JsonValue](sorted(declaration.verbs)),
        "own_folder": declaration.own_folder,
        "reversible": declaration.reversible,
    }
    if declaration.asks_unless is not None:
        facts["asks_unless"] = {
            argument: list[JsonValue](sorted(values)) for argument, values in declaration.asks_unless.items()
        }
    if declaration.bindings != UNBOUND:
        facts["bindings"] = declaration.bindings.as_json()
    return hashlib.sha256(canonical_bytes(facts)).hexdigest()
