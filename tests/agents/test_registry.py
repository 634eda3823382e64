"""The closed registry, and the hash that a redefined tool cannot keep."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from operalta.access.rules import Permission
from operalta.agents.company_tools import COMPANY_TOOLS, Arguments, FilesRead, company_registry
from operalta.agents.registry import (
    LONGEST_CONTENT,
    Reference,
    SinkType,
    ToolClass,
    ToolDeclaration,
    ToolRegistry,
    ToolResult,
    UnknownTool,
    tool_hash,
)


async def nothing(scope: object, arguments: FilesRead) -> ToolResult:
    return ToolResult(f"{scope} {arguments.path}")


def reading(**changes: Any) -> ToolDeclaration:  # noqa: ANN401 - any field
    base = ToolDeclaration(
        name="files_read",
        title="Read",
        purpose="Read a file.",
        tool_class=ToolClass.READ,
        permission="files:read",
        arguments=FilesRead,
        sinks={"path": SinkType.PATH},
    )
    return replace(base, **changes)


class Loose(BaseModel):
    path: Annotated[str, StringConstraints(max_length=5)]


class Unbounded(Arguments):
    path: str


class Nested(Arguments):
    path: FilesRead


class Many(Arguments):
    path: list[Annotated[str, StringConstraints(max_length=5)]]


class OpenChoice(Arguments):
    path: Literal["a", "b"] | Annotated[str, StringConstraints(max_length=5)]


class OpenNumber(Arguments):
    path: Annotated[int, Field(ge=0)]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Files_Read"},
        {"name": "files read"},
        {"name": "files__read"},
        {"name": "fíles_read"},
        {"name": "files_read\n"},
        {"name": "x" * 65},
        {"permission": "everything"},
        {"arguments": Loose},
        {"arguments": Unbounded},
        {"arguments": Nested},
        {"arguments": Many},
        {"sinks": {"path": SinkType.PATH, "more": SinkType.BODY}},
        {"sinks": {"path": SinkType.CHOICE}},
        {"arguments": OpenChoice, "sinks": {"path": SinkType.CHOICE}},
        {"arguments": OpenNumber, "sinks": {"path": SinkType.CHOICE}},
    ],
)
def test_a_declaration_that_the_policy_could_not_rely_on_is_refused(changes: Mapping[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"."):
        reading(**changes)


@pytest.mark.proves("5.5.2")
def test_the_registry_answers_for_exact_names_only() -> None:
    registry = company_registry()
    for tool in COMPANY_TOOLS:
        assert registry.resolve(tool.name) == tool
        cyrillic = tool.name.replace("e", "\u0435")
        for other in (tool.name.upper(), f" {tool.name}", f"{tool.name}s", f"{tool.name}\u200b", cyrillic):
            assert registry.resolve(other) == UnknownTool(other)


async def test_binding_ends_with_sealing() -> None:
    registry = ToolRegistry()
    registry.declare(reading())
    with pytest.raises(ValueError, match="declared twice"):
        registry.declare(reading())
    with pytest.raises(ValueError, match="no function"):
        registry.seal()
    registry.bind("files_read", nothing)
    registry.seal()
    found = registry.resolve("files_read")
    assert isinstance(found, ToolDeclaration)
    assert found.run is not None
    assert (await found.run("scope", FilesRead(path="a"))).summary == "scope a"
    with pytest.raises(RuntimeError, match="sealed"):
        registry.declare(reading(name="other"))
    with pytest.raises(RuntimeError, match="sealed"):
        registry.bind("files_read", nothing)
    with pytest.raises(RuntimeError, match="sealed"):
        registry.mark_present("files_read")


def test_an_absent_tool_needs_no_function() -> None:
    registry = ToolRegistry()
    registry.declare(reading())
    registry.mark_absent("files_read", "The disk is gone.")
    registry.seal()
    found = registry.resolve("files_read")
    assert isinstance(found, ToolDeclaration)
    assert not found.available


class OtherPath(Arguments):
    path: Annotated[str, StringConstraints(max_length=5)]


@pytest.mark.proves("5.5.2")
@pytest.mark.parametrize(
    "changes",
    [
        {"name": "files_reads"},
        {"purpose": "Read a file. "},
        {"tool_class": ToolClass.DESTROY},
        {"permission": "files:write"},
        {"arguments": OtherPath},
        {"sinks": {"path": SinkType.BODY}},
        {"verbs": frozenset({"read"})},
        {"own_folder": "notes/"},
        {"reversible": True},
    ],
)
def test_any_redefinition_changes_the_hash(changes: Mapping[str, Any]) -> None:
    assert tool_hash(reading(**changes)) != tool_hash(reading())


def test_what_does_not_change_the_meaning_keeps_the_hash() -> None:
    assert tool_hash(reading(title="Other", run=nothing, absent_because="gone")) == tool_hash(reading())
    assert tool_hash(reading(verbs=frozenset({"a", "b"}))) == tool_hash(reading(verbs=frozenset({"b", "a"})))


def test_the_shell_is_absent_until_the_sandbox_has_proven_itself() -> None:
    shell = company_registry().resolve("shell_run")
    assert isinstance(shell, ToolDeclaration)
    assert not shell.available
    assert shell.tool_class is ToolClass.EXECUTE


def test_all_arguments_of_the_companys_tools_are_declared() -> None:
    for tool in COMPANY_TOOLS:
        assert set(tool.sinks) == set(tool.arguments.model_fields)
        assert tool.arguments.model_config == ConfigDict(extra="forbid", frozen=True)


def test_the_tools_need_permissions_that_exist() -> None:
    assert {tool.permission for tool in COMPANY_TOOLS} <= {permission.value for permission in Permission}


def test_a_result_is_bounded_and_can_be_kept() -> None:
    reference = Reference("file", "a.md", "A", "y" * 5_000)
    kept = ToolResult("a\x00b\ud800", "x" * (LONGEST_CONTENT + 7), (reference,) * 99).as_json()
    assert kept["summary"].startswith("a\ufffdb\ufffd")
    assert kept["content"] == "x" * LONGEST_CONTENT + "\n[7 more characters are not shown]"
    assert len(kept["references"]) == 50
    assert len(json.dumps(kept)) < 400_000


def test_a_result_is_json() -> None:
    result = ToolResult("Read.", "text", (Reference("file", "a.md", "A", "words"),), from_outside=True)
    assert result.as_json() == {
        "summary": "Read.",
        "content": "text",
        "references": [{"kind": "file", "reference": "a.md", "title": "A", "excerpt": "words"}],
        "from_outside": True,
        "failed": False,
    }
