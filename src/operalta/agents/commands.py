"""What a person typed, read as a command. Pure, bounded, and never an error: odd input is a question.

Two kinds of command are told apart. A *typed* command begins with a slash and is exactly what it says. A
*phrase* ("record a decision that …") is understood from prose: what follows is composed, so the tool policy
never takes it for the person's own command.
"""

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from operalta.agents.canonical import JsonValue
from operalta.agents.company_tools import LONGEST_COMMAND, LONGEST_FILE, LONGEST_PATH, LONGEST_URL, NOTES_FOLDER
from operalta.agents.integration_tools import LONGEST_SENT
from operalta.agents.knowledge_tools import LONGEST_SLUGS
from operalta.agents.tool_arguments import LONGEST_BODY, LONGEST_QUERY, LONGEST_SLUG, LONGEST_TITLE
from operalta.vault.integrations.rules import LONGEST_PATH as LONGEST_SERVICE_PATH
from operalta.vault.integrations.rules import LONGEST_QUERY as LONGEST_SERVICE_QUERY
from operalta.vault.integrations.rules import LONGEST_SLUG as LONGEST_SERVICE
from operalta.workspace.artifacts.rules import LONGEST_CONTENT as LONGEST_ARTIFACT
from operalta.workspace.memory.rules import Relation
from operalta.workspace.metrics.rules import LONGEST_NOTE as LONGEST_POINT_NOTE

LENGTH_OF_ID = 36
LENGTH_OF_DAY = 10
LONGEST_MESSAGE = LONGEST_FILE + LONGEST_PATH + 100


@dataclass(frozen=True, slots=True)
class Command:
    """A call of one tool. `typed` is false where it was understood from prose."""

    word: str
    tool: str
    arguments: Mapping[str, JsonValue]
    typed: bool


@dataclass(frozen=True, slots=True)
class Help:
    """The person wants to know what can be typed."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A slash command that cannot be used; `advice` says how it is written."""

    advice: str


@dataclass(frozen=True, slots=True)
class Question:
    """Anything else."""

    text: str


Parsed: TypeAlias = Command | Help | Malformed | Question


@dataclass(frozen=True, slots=True)
class CommandForm:
    """How a command is written and what it is for; `read` gives its arguments, or None."""

    usage: str
    purpose: str
    tool: str
    read: Callable[[str], Mapping[str, JsonValue] | None]


def _one_line(text: str, longest: int) -> str | None:
    return text if 0 < len(text) <= longest and len(text.splitlines()) == 1 else None


def _single(argument: str, longest: int) -> Callable[[str], Mapping[str, JsonValue] | None]:
    def read(rest: str) -> Mapping[str, JsonValue] | None:
        value = _one_line(rest, longest)
        return None if value is None else {argument: value}

    return read


def _entry(kind: str) -> Callable[[str], Mapping[str, JsonValue] | None]:
    def read(rest: str) -> Mapping[str, JsonValue] | None:
        title, _, body = (part.strip() for part in rest.partition("|"))
        if _one_line(title, LONGEST_TITLE) is None or len(body) > LONGEST_BODY:
            return None
        return {"kind": kind, "title": title, "body": body}

    return read


def _file(rest: str) -> Mapping[str, JsonValue] | None:
    path, bar, content = rest.partition("|")
    path = path.strip()
    content = content.strip()
    if not bar or _one_line(path, LONGEST_PATH) is None or len(content) > LONGEST_FILE:
        return None
    return {"path": path, "content": content}


def _addition(rest: str) -> Mapping[str, JsonValue] | None:
    file = _file(rest)
    return file if file is not None and file["content"] else None


def _two_paths(rest: str) -> Mapping[str, JsonValue] | None:
    path, _, to = (part.strip() for part in rest.partition("|"))
    if _one_line(path, LONGEST_PATH) is None or _one_line(to, LONGEST_PATH) is None:
        return None
    return {"path": path, "to": to}


def _new_artifact(rest: str) -> Mapping[str, JsonValue] | None:
    title, _, content = (part.strip() for part in rest.partition("|"))
    if _one_line(title, LONGEST_TITLE) is None or not 0 < len(content) <= LONGEST_ARTIFACT:
        return None
    return {"title": title, "content": content}


def _revision(rest: str) -> Mapping[str, JsonValue] | None:
    named = _new_artifact(rest)
    return None if named is None else {"artifact": named["title"], "content": named["content"]}


def _optional(argument: str, longest: int) -> Callable[[str], Mapping[str, JsonValue] | None]:
    required = _single(argument, longest)
    return lambda rest: required(rest) if rest else {}


def _successor(rest: str) -> Mapping[str, JsonValue] | None:
    record, bar, new = (part.strip() for part in rest.partition("|"))
    title, _, body = (part.strip() for part in new.partition("|"))
    if not bar or len(record) != LENGTH_OF_ID or _one_line(title, LONGEST_TITLE) is None or len(body) > LONGEST_BODY:
        return None
    return {"record": record, "title": title, "body": body}


def _task(rest: str) -> Mapping[str, JsonValue] | None:
    agent, bar, task = (part.strip() for part in rest.partition("|"))
    if not bar or _one_line(agent, LONGEST_SLUG) is None or not 0 < len(task) <= LONGEST_BODY:
        return None
    return {"agent": agent, "task": task}


def _tie(rest: str) -> Mapping[str, JsonValue] | None:
    record, *relation, other = rest.split() if len(rest.split()) > 2 else ("", "")  # noqa: PLR2004 - two and between
    if not len(record) == len(other) == LENGTH_OF_ID or " ".join(relation) not in tuple(Relation):
        return None
    return {"record": record, "relation": " ".join(relation), "other": other}


def _measure(rest: str) -> Mapping[str, JsonValue] | None:
    line, _, note = (part.strip() for part in rest.partition("|"))
    words = line.split()
    if len(words) != 3 or len(note) > LONGEST_POINT_NOTE or len(words[2]) != LENGTH_OF_DAY:  # noqa: PLR2004 - as the usage says
        return None
    return {"slug": words[0], "value": words[1], "on_date": words[2]} | ({"note": note} if note else {})


def _with_network(rest: str) -> Mapping[str, JsonValue] | None:
    command = _one_line(rest, LONGEST_COMMAND)
    return None if command is None else {"command": command, "network": True}


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def _service_request(rest: str) -> Mapping[str, JsonValue] | None:
    """Read `name GET /path?query`, and `name POST /path | body` for what writes."""
    line, bar, body = (part.strip() for part in rest.partition("|"))
    words = line.split()
    if len(words) != 3 or _one_line(line, LONGEST_SERVICE_PATH + LONGEST_SERVICE_QUERY) is None:  # noqa: PLR2004
        return None
    name, method, target = words[0], words[1].upper(), words[2]
    path, _, query = target.partition("?")
    if method not in _METHODS or not path.startswith("/") or len(name) > LONGEST_SERVICE:
        return None
    if bar and (method in {"GET", "HEAD"} or len(body) > LONGEST_SENT):
        return None
    asked: dict[str, JsonValue] = {"integration": name, "method": method, "path": path}
    return asked | ({"query": query} if query else {}) | ({"body": body} if bar else {})


def _service_tool(rest: str) -> Mapping[str, JsonValue] | None:
    line, _, arguments = (part.strip() for part in rest.partition("|"))
    words = line.split()
    if len(words) != 2 or len(arguments) > LONGEST_SENT:  # noqa: PLR2004 - a name and a tool
        return None
    return {"integration": words[0], "tool": words[1]} | ({"arguments": arguments} if arguments else {})


COMMANDS: Mapping[str, CommandForm] = MappingProxyType(
    {
        "decide": CommandForm(
            "/decide Title | what was decided and why",
            "Record a decision",
            "memory_record",
            _entry("decision"),
        ),
        "hypothesis": CommandForm(
            "/hypothesis Title | what we believe",
            "Record a hypothesis",
            "memory_record",
            _entry("hypothesis"),
        ),
        "experiment": CommandForm(
            "/experiment Title | what we try", "Record an experiment", "memory_record", _entry("experiment")
        ),
        "blocker": CommandForm(
            "/blocker Title | what is in the way", "Record a blocker", "memory_record", _entry("blocker")
        ),
        "find": CommandForm("/find words", "Search the memory", "memory_search", _single("query", LONGEST_QUERY)),
        "search": CommandForm("/search words", "Search the files", "files_search", _single("query", LONGEST_QUERY)),
        "read": CommandForm("/read path", "Read a file", "files_read", _single("path", LONGEST_PATH)),
        "write": CommandForm("/write path | content", "Write a file", "files_write", _file),
        "append": CommandForm("/append path | text", "Add to the end of a file", "files_append", _addition),
        "move": CommandForm("/move path | new path", "Move or rename a file", "files_move", _two_paths),
        "delete": CommandForm("/delete path", "Put a file into the bin", "files_delete", _single("path", LONGEST_PATH)),
        "list": CommandForm("/list folder", "List files", "files_list", _optional("folder", LONGEST_PATH)),
        "artifact": CommandForm("/artifact Title | text", "Keep a new document", "artifact_create", _new_artifact),
        "revise": CommandForm(
            "/revise title or id | text", "Write a new version of an artifact", "artifact_revise", _revision
        ),
        "read-artifact": CommandForm(
            "/read-artifact title or id", "Read an artifact", "artifact_read", _single("artifact", LONGEST_TITLE)
        ),
        "find-artifact": CommandForm(
            "/find-artifact words", "Search the artifacts", "artifact_search", _single("query", LONGEST_QUERY)
        ),
        "metric": CommandForm(
            "/metric slug", "Read a metric, or list all", "metrics_read", _optional("slug", LONGEST_SLUG)
        ),
        "supersede": CommandForm(
            "/supersede identifier | Title | what holds now",
            "Put a new entry in the place of one that no longer holds",
            "memory_supersede",
            _successor,
        ),
        "tie": CommandForm(
            "/tie identifier supports identifier",
            "Tie two entries of the memory; also contradicts, tests, blocks, relates to",
            "memory_link",
            _tie,
        ),
        "measure": CommandForm(
            "/measure slug value 2026-01-31 | note", "Record a value of a metric", "metrics_record", _measure
        ),
        "compare": CommandForm(
            "/compare slug, slug", "Compare metrics", "metrics_compare", _single("slugs", LONGEST_SLUGS)
        ),
        "said": CommandForm(
            "/said words", "Search the conversations", "conversation_search", _single("query", LONGEST_QUERY)
        ),
        "fetch": CommandForm("/fetch https://…", "Fetch a web page", "web_fetch", _single("url", LONGEST_URL)),
        "delegate": CommandForm(
            "/delegate agent | task", "Hand a task to another agent, and quote its answer", "delegate", _task
        ),
        "run": CommandForm(
            "/run command", "Run a command in the sandbox", "shell_run", _single("command", LONGEST_COMMAND)
        ),
        "ask-service": CommandForm(
            "/ask-service name GET /path?query",
            "Ask a service that is switched on; with POST, PUT, PATCH or DELETE also `| body`",
            "integration_request",
            _service_request,
        ),
        "use-tool": CommandForm(
            "/use-tool name tool | {JSON}", "Use a tool of an MCP server", "integration_tool", _service_tool
        ),
        "online": CommandForm("/online command", "Run a command that has network", "shell_run", _with_network),
    }
)

_SLASH = re.compile(r"/([A-Za-z]+(?:-[A-Za-z]+)*)(?:\s+(.*))?\Z", re.DOTALL | re.ASCII)
_SHOWN = 40


def parse(text: str) -> Parsed:
    """Read a message. A slash command is the whole message, outer white space aside."""
    text = text.strip()
    if len(text) > LONGEST_MESSAGE:
        return Malformed("This message is too long. Send the text as a file instead.")
    found = _SLASH.match(text)
    if found is not None:
        return _typed(found[1].translate(_ASCII_LOWER), (found[2] or "").strip())
    return _phrase(text) or Question(text)


def usage_lines() -> tuple[tuple[str, str], ...]:
    """Return what can be typed and what each does, in the order in which it is shown."""
    return tuple((form.usage, form.purpose) for form in COMMANDS.values())


def _typed(word: str, rest: str) -> Parsed:
    if word == "help":
        return Help()
    form = COMMANDS.get(word)
    if form is None:
        return Malformed(f"There is no command /{word[:_SHOWN]}. Type /help to see what there is.")
    arguments = form.read(rest)
    if arguments is None:
        return Malformed(f"Write it like this: {form.usage}")
    return Command(word, form.tool, MappingProxyType(dict(arguments)), typed=True)


_ASCII_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_POLITE = r"(?:please\s+|can\s+you\s+|could\s+you\s+)*"
_RECORD = re.compile(
    _POLITE + r"(?:record|note|log|add)\s+"
    r"(?:(?:a|an|the)\s+(?:new\s+)?(decision|hypothesis|experiment|blocker)(?:\s+that\b|\s*:|\s+about\b)|that\b)"
    r"\s*(\S.*)\Z",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_WRITE = re.compile(
    _POLITE + r"(?:write|create|save)\s+(?:a|the)\s+(?:new\s+)?file\s+(?:called\s+|named\s+)?(\S{1,400})\s+"
    r"(?:with|saying|that\s+says|containing)\s*(?:the\s+(?:text|content)\s*)?:?\s*(\S.*)\Z",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_FETCH = re.compile(_POLITE + r"(?:fetch|open)\s+(https?://\S{1,2040}?)[.,;!?]?\Z", re.IGNORECASE | re.ASCII)
_READ = re.compile(_POLITE + r"(?:read|show\s+me)\s+(?:the\s+)?file\s+(\S{1,400}?)[.,;!?]?\Z", re.IGNORECASE | re.ASCII)
_DELETE = re.compile(
    _POLITE + r"(?:delete|remove)\s+(?:the\s+)?file\s+(\S{1,400}?)[.,;!?]?\Z", re.IGNORECASE | re.ASCII
)
_MOVE = re.compile(
    _POLITE + r"(?:move|rename)\s+(?:the\s+)?file\s+(\S{1,400})\s+to\s+(\S{1,400}?)[.,;!?]?\Z",
    re.IGNORECASE | re.ASCII,
)
_RUN = re.compile(
    _POLITE + r"(?:run|execute)\s+(?:"
    r"(?:the\s+)?command\s*:?\s+(\S.*)|"
    r"(\S{1,80})\s+on\s+(?:the\s+)?(?:file\s+)?(\S{1,400}?)[.,;!?]?"
    r")\Z",
    re.IGNORECASE | re.DOTALL | re.ASCII,
)
_OUTER_QUOTES = "\"'“”„«»`"


def _phrase(text: str) -> Command | None:
    if found := _RECORD.match(text):
        return _composed_entry((found[1] or "decision").lower(), found[2].strip())
    if found := _WRITE.match(text):
        path = found[1].strip(_OUTER_QUOTES)
        content = _without_outer_quotes(found[2].strip())
        path = path if "/" in path else NOTES_FOLDER + path
        if 0 < len(path) <= LONGEST_PATH and len(content) <= LONGEST_FILE:
            return Command("write", "files_write", {"path": path, "content": content}, typed=False)
    if found := _FETCH.match(text):
        return Command("fetch", "web_fetch", {"url": found[1]}, typed=False)
    if found := _RUN.match(text):
        command = _command_in(found)
        if 0 < len(command) <= LONGEST_COMMAND:
            return Command("run", "shell_run", {"command": command}, typed=False)
    return _phrase_about_a_file(text)


def _command_in(found: re.Match[str]) -> str:
    if found[1]:
        return _without_outer_quotes(found[1].strip())
    program, path = (part.strip(_OUTER_QUOTES) for part in (found[2], found[3]))
    return f"{shlex.quote(program)} {shlex.quote(path)}" if program and path else ""


def _phrase_about_a_file(text: str) -> Command | None:
    for word, form in (("read", _READ), ("delete", _DELETE), ("move", _MOVE)):
        if found := form.match(text):
            paths = [path.strip(_OUTER_QUOTES) for path in found.groups()]
            if all(paths):
                return Command(word, f"files_{word}", dict(zip(("path", "to"), paths, strict=False)), typed=False)
    return None


def _composed_entry(kind: str, statement: str) -> Command | None:
    if len(statement) > LONGEST_BODY:
        return None
    sentence = statement[0].upper() + statement[1:]
    first_line = sentence.splitlines()[0].rstrip(" .")
    title = first_line if len(first_line) <= LONGEST_TITLE else first_line[: LONGEST_TITLE - 1] + "…"
    body = "" if sentence.rstrip(" .") == title else sentence
    return Command(kind, "memory_record", {"kind": kind, "title": title or sentence[:1], "body": body}, typed=False)


def _without_outer_quotes(text: str) -> str:
    if len(text) > 1 and text[0] in _OUTER_QUOTES and text[-1] in _OUTER_QUOTES:
        return text[1:-1]
    return text
