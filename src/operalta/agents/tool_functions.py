"""What the company's tools do: each calls the same service function as the pages and the API."""

from collections.abc import Awaitable, Callable

from operalta.agents import knowledge_tools
from operalta.agents.approvals.store import answer_to
from operalta.agents.artifact_tools import ArtifactCreate, ArtifactRevise, bind_artifact_tools
from operalta.agents.artifact_tools import shown_before as artifact_shown_before
from operalta.agents.company_tools import (
    ASK_PERSON,
    AskPerson,
    FilesAppend,
    FilesDelete,
    FilesList,
    FilesMove,
    FilesRead,
    FilesSearch,
    FilesWrite,
    MemoryRecord,
    MemorySearch,
    MetricsRead,
    ShellRun,
    WebFetch,
    company_registry,
)
from operalta.agents.delegation import never_called
from operalta.agents.integration_tools import (
    NOT_WIRED,
    IntegrationRequest,
    IntegrationTool,
    IntegrationTools,
    shown_before,
)
from operalta.agents.registry import Reference, ToolDeclaration, ToolRegistry, ToolResult
from operalta.agents.shell_tool import Shell, run_command
from operalta.agents.tool_work import ToolWork, declared_for
from operalta.db.scope import Scope
from operalta.kernel.errors import NotFound
from operalta.sandbox.egress import EgressDoor
from operalta.sandbox.errors import ShellUnavailable
from operalta.sandbox.exchange import EgressLine
from operalta.sandbox.policies import OPEN
from operalta.sandbox.readable import readable_text
from operalta.sandbox.shell.state import ShellState
from operalta.terms.registry import upholds
from operalta.vault.integrations.calls import IntegrationCalls
from operalta.workspace.files import deletion
from operalta.workspace.files import service as files
from operalta.workspace.files.file_store import FileStore
from operalta.workspace.files.rules import StoredFile
from operalta.workspace.memory import service as memory
from operalta.workspace.memory.rules import RecordKind, Status
from operalta.workspace.metrics import service as metrics

MOST_FOUND = 8
LONGEST_PAGE = 40_000
_BAD_STATUS = 400

MakeDoor = Callable[[Callable[[EgressLine], Awaitable[None]]], EgressDoor]


@upholds("5.1.3", "5.1.4")
def bound_registry(
    store: FileStore,
    make_door: MakeDoor,
    shell: ShellState,
    commands: Shell | None = None,
    integrations: IntegrationCalls | None = None,
) -> ToolRegistry:
    """Return the company's registry with every tool bound, and those that are absent marked with the reason.

    Without `commands` there is no shell, whatever its state says; without `integrations` none can be used.
    """
    registry = company_registry()
    work = _Tools(store, make_door, commands)
    registry.bind("memory_search", work.memory_search)
    registry.bind("memory_record", work.memory_record)
    registry.bind("metrics_read", work.metrics_read)
    registry.bind("files_list", work.files_list)
    registry.bind("files_read", work.files_read)
    registry.bind("files_search", work.files_search)
    registry.bind("files_write", work.files_write)
    registry.bind("files_append", work.files_append)
    registry.bind("files_move", work.files_move)
    registry.bind("files_delete", work.files_delete)
    bind_artifact_tools(registry)
    knowledge_tools.bind_knowledge_tools(registry)
    registry.bind("web_fetch", work.web_fetch)
    registry.bind("shell_run", work.shell_run)
    registry.bind("delegate", never_called)
    registry.bind(ASK_PERSON, work.ask_person)
    if integrations is not None:
        calling = IntegrationTools(integrations)
        registry.bind("integration_request", calling.request)
        registry.bind("integration_tool", calling.call_tool)
    else:
        registry.mark_absent("integration_request", NOT_WIRED)
        registry.mark_absent("integration_tool", NOT_WIRED)
    _mark_what_is_absent(registry, shell)
    registry.seal()
    return registry


def tools_here(shell: ShellState) -> tuple[ToolDeclaration, ...]:
    """Return the tools of this deployment as declared, with the reason of those that cannot be used."""
    registry = company_registry()
    _mark_what_is_absent(registry, shell)
    return tuple(registry)


@upholds("5.3.3")
def _mark_what_is_absent(registry: ToolRegistry, shell: ShellState) -> None:
    if shell.available:
        registry.mark_present("shell_run")
    else:
        registry.mark_absent("shell_run", shell.reason)


async def preview(store: FileStore, scope: Scope, arguments: object) -> tuple[str | None, str | None]:
    """Return what a write would replace, and with what, for the card; of a service, what it is and what is sent.

    None: there is nothing to compare.
    """
    if isinstance(arguments, IntegrationRequest | IntegrationTool):
        return await shown_before(scope, arguments)
    if isinstance(arguments, ArtifactCreate | ArtifactRevise):
        return await artifact_shown_before(scope, arguments)
    return await _preview_of_write(store, scope, arguments)


async def _preview_of_write(store: FileStore, scope: Scope, arguments: object) -> tuple[str | None, str | None]:
    match arguments:
        case FilesWrite():
            return await _text_at(store, scope, arguments.path), arguments.content
        case FilesAppend():
            before = await _text_at(store, scope, arguments.path)
            return before, files.joined(before.encode(), arguments.content.encode()).decode()
        case FilesMove():
            return await _file_at(store, scope, arguments.path), arguments.to
        case FilesDelete():
            return await _file_at(store, scope, arguments.path), "in the bin"
        case MemoryRecord():
            return "", f"{arguments.title}\n\n{arguments.body}".rstrip()
        case _:
            return await knowledge_tools.shown_before(scope, arguments)


async def _text_at(store: FileStore, scope: Scope, path: str) -> str:
    """Return what a text file holds; nothing where there is none."""
    try:
        return (await files.read_text(scope, await declared_for(store, scope), path)).text
    except NotFound:
        return ""


async def _file_at(store: FileStore, scope: Scope, path: str) -> str:
    """Return which file it is and at which version; nothing where there is none."""
    try:
        found = await files.find_at(scope, await declared_for(store, scope), path)
    except NotFound:
        return ""
    return f"{found.path}, version {found.version}, {found.size} bytes"


class _Tools:
    def __init__(self, store: FileStore, make_door: MakeDoor, commands: Shell | None) -> None:
        self._store = store
        self._make_door = make_door
        self._commands = commands

    async def memory_search(self, work: ToolWork, arguments: MemorySearch) -> ToolResult:
        kinds = (arguments.kind,) if arguments.kind else ()
        found = await memory.search(work.opened, arguments.query, kinds, MOST_FOUND)
        return ToolResult(
            summary=f"{len(found)} entries of the memory match.",
            content="\n\n".join(f"[{one.kind}, {one.status}, {one.id}] {one.title}\n{one.body}" for one in found),
            references=tuple(Reference("memory", str(one.id), one.title, one.body or one.title) for one in found),
        )

    async def memory_record(self, work: ToolWork, arguments: MemoryRecord) -> ToolResult:
        decided = work.by_person and arguments.kind == RecordKind.DECISION
        made = await memory.record(
            work.opened,
            arguments.kind,
            arguments.title,
            arguments.body,
            status=Status.DECIDED if decided else None,
            approval_id=work.approval_id,
        )
        return ToolResult(
            summary=f"Recorded the {made.kind} “{made.title}”.",
            references=(Reference("memory", str(made.id), made.title),),
        )

    async def metrics_read(self, work: ToolWork, arguments: MetricsRead) -> ToolResult:
        if arguments.slug is None:
            listed = await metrics.list_metrics(work.opened)
            lines = [f"{one.slug}: {one.name} = {one.latest_value} {one.unit} ({one.latest_on})" for one in listed]
            return ToolResult(summary=f"{len(listed)} metrics.", content="\n".join(lines))
        found = await metrics.get(work.opened, arguments.slug)
        lines = [f"{point.on_date}: {point.value} {found.metric.unit}" for point in found.points]
        return ToolResult(
            summary=f"{found.metric.name}: {len(found.points)} points.",
            content="\n".join(lines),
            references=(Reference("metric", found.metric.slug, found.metric.name, found.metric.definition),),
        )

    async def ask_person(self, work: ToolWork, _arguments: AskPerson) -> ToolResult:
        said = await answer_to(work.opened, work.approval_id) if work.approval_id else None
        if said is None:
            return ToolResult(summary="Nobody has answered.", failed=True)
        return ToolResult(summary=f"{said['person_name'] or 'Somebody'} has answered.", content=said["answer"])

    async def files_list(self, work: ToolWork, arguments: FilesList) -> ToolResult:
        listed = await files.list_files(work.opened, await self._files(work), arguments.folder)
        lines = [f"{one.path} ({one.size} bytes, version {one.version})" for one in listed.items]
        return ToolResult(summary=f"{len(lines)} files.", content="\n".join(lines))

    async def files_read(self, work: ToolWork, arguments: FilesRead) -> ToolResult:
        found = await files.read_text(work.opened, await self._files(work), arguments.path)
        return ToolResult(
            summary=f"{found.file.path}, version {found.file.version}.",
            content=found.text,
            references=(Reference("file", found.file.path, found.file.path),),
            from_outside=True,
        )

    async def files_search(self, work: ToolWork, arguments: FilesSearch) -> ToolResult:
        found = await files.search_passages(work.opened, await self._files(work), arguments.query, MOST_FOUND)
        return ToolResult(
            summary=f"{len(found)} passages match.",
            content="\n\n".join(f"{one.path}\n{one.body}" for one in found),
            references=tuple(
                Reference("file", f"{one.path}#{one.position}", one.heading or one.path, one.body) for one in found
            ),
            from_outside=True,
        )

    async def files_write(self, work: ToolWork, arguments: FilesWrite) -> ToolResult:
        made = await files.write_text(work.opened, await self._files(work), arguments.path, arguments.content)
        return _present(made, f"Wrote {made.path}, version {made.version}, {made.size} bytes.")

    async def files_append(self, work: ToolWork, arguments: FilesAppend) -> ToolResult:
        made = await files.append_text(work.opened, await self._files(work), arguments.path, arguments.content)
        return _present(made, f"Added to {made.path}, which is version {made.version} now, {made.size} bytes.")

    async def files_move(self, work: ToolWork, arguments: FilesMove) -> ToolResult:
        store = await self._files(work)
        found = await files.find_at(work.opened, store, arguments.path)
        made = await files.move(work.opened, store, found.id, arguments.to)
        return _present(made, f"Moved {found.path} to {made.path}.")

    async def files_delete(self, work: ToolWork, arguments: FilesDelete) -> ToolResult:
        store = await self._files(work)
        found = await files.find_at(work.opened, store, arguments.path)
        await deletion.delete(work.opened, store, found.id)
        return ToolResult(summary=f"{found.path} is in the bin. It can be restored from there.")

    async def web_fetch(self, work: ToolWork, arguments: WebFetch) -> ToolResult:
        page = await self._door(work).fetch(
            arguments.url, surface=OPEN, purpose="agent fetch", company_id=work.company_id, run_id=work.run_id
        )
        text = await readable_text(page)
        return ToolResult(
            summary=f"{page.url} answered {page.status}, {len(page.body)} bytes.",
            content=text[:LONGEST_PAGE],
            references=(Reference("web", page.url, page.url, text[:400]),),
            from_outside=True,
            failed=page.status >= _BAD_STATUS,
        )

    async def shell_run(self, work: ToolWork, arguments: ShellRun) -> ToolResult:
        if self._commands is None:
            raise ShellUnavailable
        return await run_command(self._commands, self._store, self._door(work), work, arguments)

    def _door(self, work: ToolWork) -> EgressDoor:
        """Return the door for a call: its lines are left with the call, to be kept with its result."""

        async def keep(line: EgressLine) -> None:
            work.egress.append(line)

        if work.company_id is None or work.run_id is None:
            raise RuntimeError("this tool runs for nobody")
        return self._make_door(keep)

    async def _files(self, work: ToolWork) -> FileStore:
        return await declared_for(self._store, work.opened)


def _present(file: StoredFile, summary: str) -> ToolResult:
    return ToolResult(summary=summary, references=(Reference("file", file.path, file.path),))
