"""Running a command for an agent: on a copy of the files that it may reach, with what it changed taken back.

The command never touches the company's files. It gets their bytes in memory, and what it leaves behind is brought in
as any upload is, under the scope of its person, with every check on names and sizes. Where that is refused, the
command's output still stands, and says so.
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from operalta.agents.company_tools import ShellRun
from operalta.agents.live_output import LiveOutput
from operalta.agents.registry import Reference, ToolResult
from operalta.agents.tool_work import ToolWork, declared_for
from operalta.db.errors import DatabaseOutOfReach
from operalta.db.scope import Scope
from operalta.kernel.errors import Refusal
from operalta.kernel.ids import FileId
from operalta.sandbox.egress import EgressDoor
from operalta.sandbox.errors import NoNetworkForCommands, TooMuchForACommand
from operalta.sandbox.metering import Errand
from operalta.sandbox.policies import TUNNELLED
from operalta.sandbox.shell.proxy import CommandProxy
from operalta.sandbox.shell.rules import Ending, Job, Report
from operalta.sandbox.shell.runner import CommandRunner
from operalta.terms.registry import upholds
from operalta.workspace.files import deletion, documents
from operalta.workspace.files import service as files
from operalta.workspace.files.documents import ReadDocument
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.rules import StoredFile
from operalta.workspace.rules import LARGEST_PAGE

MOST_FILES = 2_000
MOST_BYTES = 64 * 1024 * 1024
MOST_READ = 10
"""Documents of one command that are read at once; the others are read when a person brings them again."""
_MOST_TOLD = 20

_ENDINGS = {
    Ending.TIME: "It was ended: it took longer than it may.",
    Ending.MEMORY: "It was ended: it took more memory than it may.",
    Ending.PROCESSES: "It was ended: it started more processes than it may.",
    Ending.ENTRIES: "It was ended: it made more files than it may.",
    Ending.OUTPUT: "It was ended: it wrote without end.",
    Ending.BROKEN: "It ended its own sandbox, so what came of it is not known.",
}


Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Shell:
    """What runs commands, what reads the documents that they make, and the hosts that they may be let reach."""

    runner: CommandRunner
    read: ReadDocument
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Given:
    """A file that the command gets: its name inside, and what it is outside."""

    id: FileId
    path: str
    version: int
    content: bytes


@upholds("5.2.1", "5.3.2")
async def run_command(
    shell: Shell, store: FileStore, door: EgressDoor, work: ToolWork, arguments: ShellRun
) -> ToolResult:
    """Run a command line in a sandbox and return what it wrote, with what it changed brought into the files.

    `door` is where its connections leave, if it is to have any. Raise NoNetworkForCommands where no host is named,
    TooMuchForACommand where the files do not fit, ShellUnavailable where no sandbox starts.
    """
    proxy = _proxy(shell, door, work) if arguments.network else None
    async with work.open_scope() as scope:
        given = await _files_for(scope, await declared_for(store, scope), arguments.folder)
    job = Job(
        ("/bin/sh", "-c", arguments.command),
        files={name: one.content for name, one in given.items()},
        seconds=arguments.seconds,
        returns_files=True,
    )
    live = LiveOutput(work.tell)
    report = await shell.runner.run(job, live.take, proxy)
    await live.finish()
    notes, written = await _take_back(store, work, arguments.folder, given, report)
    for file, content in written[:MOST_READ]:
        await documents.read_brought(work.open_scope, store, shell.read, file, content)
    return ToolResult(
        summary=_summary(report, notes),
        content=_text(report, notes),
        references=tuple(Reference("file", file.path, file.path) for file, _ in written),
        from_outside=True,
        failed=report.ending is not Ending.FINISHED,
    )


@upholds("5.4.3")
def _proxy(shell: Shell, door: EgressDoor, work: ToolWork) -> CommandProxy:
    """Return the way out of one command: to the hosts that the operator named, counted for company and run."""
    if not shell.hosts:
        raise NoNetworkForCommands
    errand = Errand("agent command", work.company_id, work.run_id)
    return CommandProxy(door, TUNNELLED.for_hosts(*shell.hosts), errand)


async def _files_for(scope: Scope, store: FileStore, folder: str) -> dict[str, _Given]:
    """Return the files below a folder by the names that they have inside."""
    below = f"{store.checked_path(folder.rstrip('/'))}/" if folder.strip("/") else ""
    given: dict[str, _Given] = {}
    size, cursor = 0, None
    while True:
        page = await files.list_files(scope, store, below.rstrip("/"), cursor, LARGEST_PAGE)
        for file in page.items:
            size += file.size
            if size > MOST_BYTES or len(given) >= MOST_FILES:
                raise TooMuchForACommand
            content = await store.read_version(scope.company, file.id, file.version, file.content)
            given[file.path.removeprefix(below)] = _Given(file.id, file.path, file.version, content)
        cursor = page.next_cursor
        if cursor is None:
            return given


@upholds("5.2.1", "5.2.2")
async def _take_back(
    store: FileStore, work: ToolWork, folder: str, given: dict[str, _Given], report: Report
) -> tuple[list[str], list[tuple[StoredFile, bytes]]]:
    """Bring in what the command changed. Return what people should know about it, and what it wrote."""
    notes = [f"{name} was too large, or one too many, and was left behind." for name in report.not_returned]
    written: list[tuple[StoredFile, bytes]] = []
    if not report.changed and not report.removed:
        return notes, written
    prefix = f"{folder.strip('/')}/" if folder.strip("/") else ""
    async with work.open_scope() as scope:
        narrowed = await declared_for(store, scope)
        for name, content in report.changed.items():
            stored, refusal = await _kept(
                scope, files.replace(scope, narrowed, prefix + name, content, _version(given, name))
            )
            if stored is None:
                notes.append(f"{prefix}{name} was not kept: {refusal}")
            else:
                written.append((stored, content))
        for name in report.removed:
            if name in given:
                _, refusal = await _kept(scope, deletion.delete(scope, narrowed, given[name].id, given[name].version))
                became = "is in the bin." if refusal is None else f"was not deleted: {refusal}"
                notes.append(f"{given[name].path} {became}")
    return [f"Wrote {file.path}." for file, _ in written] + notes, written


def _version(given: dict[str, _Given], name: str) -> int:
    """Return the version that the command had of a file; 0 where it made it."""
    return given[name].version if name in given else 0


async def _kept(scope: Scope, work: Awaitable[Result]) -> tuple[Result | None, str | None]:
    """Carry out one change and return what it gave; where it is refused, undo it alone and return why."""
    try:
        async with scope.connection.transaction():
            return await work, None
    except DatabaseOutOfReach:
        raise
    except Refusal as refusal:
        return None, refusal.public_text


def _summary(report: Report, notes: Sequence[str]) -> str:
    if report.ending is not Ending.FINISHED:
        return _ENDINGS[report.ending]
    changes = f" {len(notes)} notes on files." if notes else ""
    if report.exit_code == 0:
        return f"The command ran, in {report.seconds:.1f} seconds.{changes}"
    return f"The command ran, and ended with the exit code {report.exit_code}.{changes}"


def _text(report: Report, notes: Sequence[str]) -> str:
    """Return the output as text, with its missing middle marked, and the notes below it."""
    output = report.output
    if report.left_out:
        half = len(output) // 2
        gap = f"\n[{report.left_out} bytes are left out here]\n".encode()
        output = output[:half] + gap + output[half:]
    parts = [output.decode("utf-8", "replace").rstrip("\n")]
    if notes:
        more = [f"And {len(notes) - _MOST_TOLD} more."] if len(notes) > _MOST_TOLD else []
        parts.append("\n".join([*notes[:_MOST_TOLD], *more]))
    return "\n\n".join(part for part in parts if part)
