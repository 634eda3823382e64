"""What is typed, read as a command; odd input is a question and never an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from operalta.agents.canonical import JsonValue
from operalta.agents.commands import (
    COMMANDS,
    LONGEST_MESSAGE,
    Command,
    Help,
    Malformed,
    Question,
    parse,
    usage_lines,
)
from operalta.agents.company_tools import company_registry
from operalta.agents.policy import accept_arguments
from operalta.agents.registry import ToolDeclaration


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        ("/decide A | b\nc", "memory_record", {"kind": "decision", "title": "A", "body": "b\nc"}),
        ("/decide A", "memory_record", {"kind": "decision", "title": "A", "body": ""}),
        ("/Hypothesis A | b | c", "memory_record", {"kind": "hypothesis", "title": "A", "body": "b | c"}),
        ("/experiment A", "memory_record", {"kind": "experiment", "title": "A", "body": ""}),
        ("/find red car", "memory_search", {"query": "red car"}),
        ("/search red car", "files_search", {"query": "red car"}),
        ("/read a/b c.md", "files_read", {"path": "a/b c.md"}),
        ("/write a.md | x | y", "files_write", {"path": "a.md", "content": "x | y"}),
        ("/write a.md |", "files_write", {"path": "a.md", "content": ""}),
        ("/append a.md | x | y\nz", "files_append", {"path": "a.md", "content": "x | y\nz"}),
        ("/move a b.md | c/d.md", "files_move", {"path": "a b.md", "to": "c/d.md"}),
        ("/delete a b.md", "files_delete", {"path": "a b.md"}),
        ("/list", "files_list", {}),
        ("/list a/b", "files_list", {"folder": "a/b"}),
        ("/metric", "metrics_read", {}),
        ("/metric revenue", "metrics_read", {"slug": "revenue"}),
        ("/fetch https://example.com", "web_fetch", {"url": "https://example.com"}),
        ("/run a | b && c", "shell_run", {"command": "a | b && c"}),
    ],
)
def test_typed_commands(text: str, tool: str, arguments: dict[str, JsonValue]) -> None:
    command = parse(text)
    assert isinstance(command, Command)
    assert command.typed
    assert (command.tool, dict(command.arguments)) == (tool, arguments)


@pytest.mark.parametrize(
    ("text", "tool", "arguments"),
    [
        (
            "Please record a decision that we chose Postgres.",
            "memory_record",
            {"kind": "decision", "title": "We chose Postgres", "body": ""},
        ),
        (
            "please record that we chose Postgres",
            "memory_record",
            {"kind": "decision", "title": "We chose Postgres", "body": ""},
        ),
        (
            "log a blocker: no licence\nWe wait for it.",
            "memory_record",
            {"kind": "blocker", "title": "No licence", "body": "No licence\nWe wait for it."},
        ),
        ("write a file called a.md with hello", "files_write", {"path": "notes/a.md", "content": "hello"}),
        ('Create a file named x/a.md saying "hello"', "files_write", {"path": "x/a.md", "content": "hello"}),
        ("fetch https://example.com/a.", "web_fetch", {"url": "https://example.com/a"}),
        ("show me the file x/a.md?", "files_read", {"path": "x/a.md"}),
        ("please delete the file x/a.md.", "files_delete", {"path": "x/a.md"}),
        ('Remove file "a.md"', "files_delete", {"path": "a.md"}),
        ("rename the file a.md to x/b.md", "files_move", {"path": "a.md", "to": "x/b.md"}),
    ],
)
def test_phrases_are_understood_but_never_typed(text: str, tool: str, arguments: dict[str, JsonValue]) -> None:
    command = parse(text)
    assert isinstance(command, Command)
    assert not command.typed
    assert (command.tool, dict(command.arguments)) == (tool, arguments)


@pytest.mark.parametrize(
    "text",
    [
        "/decide",
        "/decide | only a body",
        "/decide two\nlines | body",
        "/write a.md",
        "/write | x",
        "/append a.md",
        "/append a.md |",
        "/append | x",
        "/move a.md",
        "/move a.md |",
        "/move | b.md",
        "/move a\nb | c",
        "/delete",
        "/delete a\nb",
        "/fetch",
        "/run",
        "/run ls\nrm -r x",
        "/read a\u2028b",
        "/unknown thing",
        "/decide " + "x" * 201,
        "/fetch https://" + "x" * 3_000,
        "x" * (LONGEST_MESSAGE + 1),
    ],
)
def test_what_cannot_be_used_gets_advice(text: str) -> None:
    found = parse(text)
    assert isinstance(found, Malformed)
    assert len(found.advice) < 200


@pytest.mark.parametrize(
    "text",
    ["", "   ", "hello", "/", "//", "/etc/passwd is what?", "/é", "what is /run ls?", "record", "\x00", "> /run ls"],
)
def test_anything_else_is_a_question(text: str) -> None:
    assert isinstance(parse(text), Question)


def test_help() -> None:
    assert isinstance(parse("/help"), Help)
    assert isinstance(parse("/HELP me"), Help)
    assert len(usage_lines()) == len(COMMANDS)


@given(
    some.one_of(
        some.text(),
        some.tuples(some.sampled_from(sorted(COMMANDS)), some.text()).map(lambda two: f"/{two[0]} {two[1]}"),
        some.text().map("record a decision that {}".format),
        some.text().map("write a file called {} with x".format),
        some.text().map("delete the file {}".format),
        some.text().map("move the file {} to b".format),
    )
)
def test_no_input_raises_and_every_command_fits_its_tool(text: str) -> None:
    found = parse(text)
    if isinstance(found, Command):
        tool = company_registry().resolve(found.tool)
        assert isinstance(tool, ToolDeclaration)
        assert accept_arguments(tool, found.arguments) is not None
