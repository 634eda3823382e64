"""The company's own tools as declared to the policy: what it keeps, the web, the shell, delegation, services.

Only what they are stands here; the functions that do the work are the other rooms' service functions, bound
at wiring (`ToolRegistry.bind`). Tools for artifacts and integrations, and more of those on what the company knows, are
declared in modules of their own.
"""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from operalta.agents.artifact_tools import DECLARATIONS as ARTIFACT_TOOLS
from operalta.agents.integration_tools import DECLARATIONS as INTEGRATION_TOOLS
from operalta.agents.knowledge_tools import DECLARATIONS as KNOWLEDGE_TOOLS
from operalta.agents.registry import SinkType, ToolClass, ToolDeclaration, ToolRegistry
from operalta.agents.tool_arguments import LONGEST_BODY, Arguments, Body, Query, Slug, Title

LONGEST_FILE = 80_000
LONGEST_PATH = 400
LONGEST_URL = 2_048
LONGEST_COMMAND = 4_000
NOTES_FOLDER = "notes/"
ASK_PERSON = "ask_person"
SHELL_NOT_PROVEN = "The sandbox for commands has not proven itself on this server, so there is no shell."

Path = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_PATH)]
RecordKind = Literal["decision", "hypothesis", "experiment", "blocker"]


class MemorySearch(Arguments):
    """What to look for in the ledger; `kind` narrows it."""

    query: Query
    kind: RecordKind | None = None


class MemoryRecord(Arguments):
    """A new entry of the ledger."""

    kind: RecordKind
    title: Title
    body: Body = ""


class MetricsRead(Arguments):
    """The metric to read; without a slug, the list of metrics."""

    slug: Slug | None = None


class FilesList(Arguments):
    """The folder to list; the top one unless given."""

    folder: Annotated[str, StringConstraints(max_length=LONGEST_PATH)] = ""


class FilesRead(Arguments):
    """The file to read."""

    path: Path


class FilesSearch(Arguments):
    """Words to look for in files."""

    query: Query


class FilesWrite(Arguments):
    """The file to write and all of its new content."""

    path: Path
    content: Annotated[str, StringConstraints(max_length=LONGEST_FILE)]


class FilesAppend(Arguments):
    """The text file to add to, and what comes behind what it holds, on a line of its own."""

    path: Path
    content: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_FILE)]


class FilesMove(Arguments):
    """The file to move, and its new name as a whole path."""

    path: Path
    to: Path


class FilesDelete(Arguments):
    """The file to put into the bin."""

    path: Path


class WebFetch(Arguments):
    """The page to fetch."""

    url: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_URL)]


class ShellRun(Arguments):
    """The command line, the folder whose files it gets (all, unless given), whether it is to have network, its time.

    `seconds` is the most that it may take; the server caps it.
    """

    command: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_COMMAND)]
    folder: Annotated[str, StringConstraints(max_length=LONGEST_PATH)] = ""
    network: bool = False
    seconds: Annotated[int, Field(ge=1, le=600)] = 60


class Delegate(Arguments):
    """The agent of this company that is to help, by its slug, and its task."""

    agent: Slug
    task: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_BODY)]


class AskPerson(Arguments):
    """A question to the person for whom the agent works, and the answers to choose from, with commas between them."""

    question: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
    choices: Annotated[str, StringConstraints(max_length=400)] = ""


COMPANY_TOOLS: tuple[ToolDeclaration, ...] = (
    ToolDeclaration(
        name="memory_search",
        title="Search the memory",
        purpose="Find decisions, hypotheses, experiments and blockers of this company by their words.",
        tool_class=ToolClass.READ,
        permission="memory:read",
        arguments=MemorySearch,
        sinks={"query": SinkType.QUERY, "kind": SinkType.CHOICE},
        reversible=True,
    ),
    ToolDeclaration(
        name="memory_record",
        title="Record in the memory",
        purpose="Add a decision, hypothesis, experiment or blocker to the company's ledger for all to see.",
        tool_class=ToolClass.WRITE_SHARED,
        permission="memory:write",
        arguments=MemoryRecord,
        sinks={"kind": SinkType.CHOICE, "title": SinkType.BODY, "body": SinkType.BODY},
        verbs=frozenset({"record", "note", "log", "add", "keep"}),
    ),
    ToolDeclaration(
        name="metrics_read",
        title="Read metrics",
        purpose="List the company's metrics, or read one metric's points.",
        tool_class=ToolClass.READ,
        permission="metrics:read",
        arguments=MetricsRead,
        sinks={"slug": SinkType.RECORD},
        reversible=True,
    ),
    ToolDeclaration(
        name="files_list",
        title="List files",
        purpose="List the files in a folder of the company's workspace.",
        tool_class=ToolClass.READ,
        permission="files:read",
        arguments=FilesList,
        sinks={"folder": SinkType.PATH},
        reversible=True,
    ),
    ToolDeclaration(
        name="files_read",
        title="Read a file",
        purpose="Read one file of the company's workspace.",
        tool_class=ToolClass.READ,
        permission="files:read",
        arguments=FilesRead,
        sinks={"path": SinkType.PATH},
        reversible=True,
    ),
    ToolDeclaration(
        name="files_search",
        title="Search files",
        purpose="Find passages in the company's files by their words.",
        tool_class=ToolClass.READ,
        permission="files:read",
        arguments=FilesSearch,
        sinks={"query": SinkType.QUERY},
        reversible=True,
    ),
    ToolDeclaration(
        name="files_write",
        title="Write a file",
        purpose="Write a file of the company's workspace, replacing what it held. New notes go below notes/.",
        tool_class=ToolClass.WRITE_OWN,
        permission="files:write",
        arguments=FilesWrite,
        sinks={"path": SinkType.PATH, "content": SinkType.BODY},
        verbs=frozenset({"write", "save", "create", "make", "store", "note"}),
        own_folder=NOTES_FOLDER,
    ),
    ToolDeclaration(
        name="files_append",
        title="Add to a file",
        purpose="Add text to the end of a text file of the company's workspace, on a line of its own.",
        tool_class=ToolClass.WRITE_SHARED,
        permission="files:write",
        arguments=FilesAppend,
        sinks={"path": SinkType.PATH, "content": SinkType.BODY},
        verbs=frozenset({"append", "add"}),
        reversible=True,
    ),
    ToolDeclaration(
        name="files_move",
        title="Move a file",
        purpose="Give a file of the company's workspace another name or folder. Nothing is replaced.",
        tool_class=ToolClass.WRITE_SHARED,
        permission="files:write",
        arguments=FilesMove,
        sinks={"path": SinkType.PATH, "to": SinkType.PATH},
        verbs=frozenset({"move", "rename"}),
        reversible=True,
    ),
    # Not of the class that destroys: a file in the bin is whole, and only a person can delete it from there.
    ToolDeclaration(
        name="files_delete",
        title="Put a file into the bin",
        purpose="Put a file of the company's workspace into the bin, from which people can restore it.",
        tool_class=ToolClass.WRITE_SHARED,
        permission="files:write",
        arguments=FilesDelete,
        sinks={"path": SinkType.PATH},
        verbs=frozenset({"delete", "remove", "bin", "trash"}),
        reversible=True,
    ),
    ToolDeclaration(
        name="web_fetch",
        title="Fetch a web page",
        purpose="Fetch one page of the public web by its whole address.",
        tool_class=ToolClass.EGRESS,
        permission="web:fetch",
        arguments=WebFetch,
        sinks={"url": SinkType.URL},
        verbs=frozenset({"fetch", "open", "read", "get", "load"}),
    ),
    ToolDeclaration(
        name="shell_run",
        title="Run a command",
        purpose="Run a command line in the sandbox, on a copy of the company's files. "
        "What it changes is brought in as new versions. With network, it reaches the hosts that the operator named.",
        tool_class=ToolClass.EXECUTE,
        permission="shell:run",
        arguments=ShellRun,
        sinks={
            "command": SinkType.BODY,
            "folder": SinkType.PATH,
            "network": SinkType.CHOICE,
            "seconds": SinkType.CHOICE,
        },
        verbs=frozenset({"run", "execute"}),
        absent_because=SHELL_NOT_PROVEN,
    ),
    ToolDeclaration(
        name="delegate",
        title="Delegate to another agent",
        purpose="Give a task to another agent of this company and wait for its answer. It may do no more than you may.",
        tool_class=ToolClass.DELEGATE,
        permission="agents:run",
        arguments=Delegate,
        sinks={"agent": SinkType.RECORD, "task": SinkType.BODY},
        verbs=frozenset({"delegate", "hand", "ask", "assign"}),
    ),
    # Put as an approval is, by itself each time: the run waits, and the answer comes with the decision.
    ToolDeclaration(
        name=ASK_PERSON,
        title="Ask the person",
        purpose="Ask the person a question and wait for the answer. Ask only what you cannot find out.",
        tool_class=ToolClass.WRITE_OWN,
        permission="agents:run",
        arguments=AskPerson,
        sinks={"question": SinkType.BODY, "choices": SinkType.BODY},
        asks_unless={"question": frozenset()},
    ),
    *KNOWLEDGE_TOOLS,
    *ARTIFACT_TOOLS,
    *INTEGRATION_TOOLS,
)


def company_registry() -> ToolRegistry:
    """Return a new registry with the company's own tools declared, open for binding."""
    registry = ToolRegistry()
    for declaration in COMPANY_TOOLS:
        registry.declare(declaration)
    return registry
