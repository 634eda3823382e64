"""What tests of runs share: an office with members, and a desk at which their runs are made and worked on."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import pytest
from pydantic_ai.messages import ModelMessage, UserPromptPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from operalta.agents import journal, runner, service
from operalta.agents.approvals import service as approvals
from operalta.agents.builtin_model import BuiltinModel
from operalta.agents.dispatch import Claim, Dispatcher
from operalta.agents.registry import ToolRegistry
from operalta.agents.routes import ModelCall, RouteRegistry, builtin_route
from operalta.agents.rules import RunLimits
from operalta.agents.runner import Runner
from operalta.agents.service import Posted
from operalta.agents.shell_tool import Shell
from operalta.agents.tool_functions import MakeDoor, bound_registry
from operalta.db.pools import Pool
from operalta.db.scope import Origin, Scope, open_company_scope
from operalta.sandbox.egress import EgressDoor, Record
from operalta.sandbox.errors import ShellUnavailable
from operalta.sandbox.files import FileLimits
from operalta.sandbox.policies import OPEN
from operalta.sandbox.reading.reader import DocumentReader
from operalta.sandbox.shell.member import Member as SandboxMember
from operalta.sandbox.shell.profile import Profile
from operalta.sandbox.shell.rules import CommandLimits
from operalta.sandbox.shell.runner import CommandRunner
from operalta.sandbox.shell.state import ShellState
from operalta.vault.integrations.calls import IntegrationCalls
from operalta.workspace.files.file_store import FileStore
from tests.conftest import Member, Pools, Servers, World
from tests.sandbox.staging import Counted, LoopbackServer

Row = dict[str, Any]
Turn = str | list[tuple[str, Mapping[str, object]]]
Script = Callable[[int], Awaitable[Turn]]


@dataclass(frozen=True)
class Office:
    """A startup with members, and the founder of another company."""

    founder: Member
    colleague: Member
    advisor: Member
    investor: Member
    stranger: Member


@pytest.fixture
def office(world: World) -> Office:
    here = world.company()
    return Office(
        world.member(here),
        world.member(here),
        world.member(here, "advisor"),
        world.member(here, "investor"),
        world.member(world.company()),
    )


@pytest.fixture
async def web_page() -> AsyncGenerator[LoopbackServer]:
    """A page on the network that counts who asks for it."""
    staged = LoopbackServer()
    server = await asyncio.start_server(staged.serve, "127.0.0.1", 0)
    staged.port = server.sockets[0].getsockname()[1]
    yield staged
    server.close()


def scripted(script: Script) -> Model:
    """A model that gives the turns of `script`, by their number in the run: a text, or tools with arguments."""

    async def stream(messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        said = [at for at, one in enumerate(messages) if any(isinstance(part, UserPromptPart) for part in one.parts)]
        number = sum(message.kind == "response" for message in messages[said[-1] :])
        turn = await script(number)
        if isinstance(turn, str):
            yield turn
            return
        for at, (tool, arguments) in enumerate(turn):
            yield {at: DeltaToolCall(tool, json.dumps(arguments), tool_call_id=f"call-{number}-{at}")}

    return FunctionModel(stream_function=stream)


def calling(*calls: tuple[str, Mapping[str, object]]) -> Model:
    """A model that asks for these tools at once, and then says that it is done."""

    async def script(number: int) -> Turn:
        return list(calls) if number == 0 else "Done."

    return scripted(script)


@dataclass
class Desk:
    """Makes runs as people do, works on them as the worker does, and looks at what is there as the owner."""

    pools: Pools
    servers: Servers
    files: FileStore
    exempt: tuple[str, ...]
    model: Model = field(default_factory=BuiltinModel)
    limits: RunLimits = field(default_factory=RunLimits)
    registry: ToolRegistry = field(init=False)
    meter: Counted = field(default_factory=Counted)
    commands: Shell | None = None
    calls: Callable[[MakeDoor], IntegrationCalls] | None = None

    def __post_init__(self) -> None:
        def make_door(keep: Record) -> EgressDoor:
            return EgressDoor(OPEN, self.exempt, keep, meter=self.meter)

        shell = ShellState(available=self.commands is not None, reason="Commands cannot be run: none is needed here.")
        calls = self.calls(make_door) if self.calls else None
        self.registry = bound_registry(self.files, make_door, shell, self.commands, calls)

    @property
    def dispatcher(self) -> Dispatcher:
        return Dispatcher(self.pools.dispatch)

    def scope(self, member: Member) -> AbstractAsyncContextManager[Scope]:
        return open_company_scope(self.pools.web, member.session_secret, member.company_slug, Origin())

    async def write(
        self, member: Member, text: str, *, conversation: UUID | None = None, private: bool = True
    ) -> Posted:
        async with self.scope(member) as scope:
            return await service.post_message(scope, text, conversation_id=conversation, private=private)

    def _build(self, call: ModelCall) -> Model:
        """Give the model of the moment, whatever the call."""
        assert call.company_id
        return self.model

    async def work(self, run: UUID) -> None:
        """Work on a run as the queue's worker does with the run's job."""
        self.rows("DELETE FROM jobs.procrastinate_jobs WHERE args ->> 'subject' = %s", str(run))
        routes = RouteRegistry([replace(builtin_route(), build=self._build)])
        await Runner(self.pools.worker, self.dispatcher, self.registry, routes, self.files, self.limits).run(run)

    async def say(self, member: Member, text: str, *, conversation: UUID | None = None, private: bool = True) -> Posted:
        """Write a message and work on its run as far as it goes."""
        posted = await self.write(member, text, conversation=conversation, private=private)
        await self.work(posted.run_id)
        return posted

    async def waiting(self, member: Member, *, private: bool = True) -> UUID:
        """Make a run that asks whether it may write a file."""
        posted = await self.say(member, "write the file plan.md with We sell by the year.", private=private)
        assert self.status(posted.run_id) == "waiting_for_approval"
        return posted.run_id

    async def decide(self, member: Member, run: UUID, decision: str) -> UUID:
        """Answer the run's open question and go on with it."""
        question = self.question(run)["id"]
        async with self.scope(member) as scope:
            await approvals.decide_approval(scope, question, decision)
        await self.work(run)
        return question

    def rows(self, query: LiteralString, *values: object) -> list[Row]:
        with self.servers.as_owner() as owner:
            cursor = owner.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def status(self, run: UUID) -> str:
        return self.rows("SELECT status FROM agents.runs WHERE id = %s", run)[0]["status"]

    def events(self, run: UUID) -> list[Row]:
        return self.rows("SELECT sequence, kind, body FROM agents.run_events WHERE run_id = %s ORDER BY sequence", run)

    def kinds(self, run: UUID) -> list[str]:
        return [event["kind"] for event in self.events(run)]

    def outcomes(self, run: UUID) -> list[tuple[str, str]]:
        """How each call of a run ended, and what was said about it."""
        return [
            (event["body"]["outcome"], event["body"]["output"])
            for event in self.events(run)
            if event["kind"] == "tool_result"
        ]

    def question(self, run: UUID) -> Row:
        return self.rows("SELECT * FROM agents.approvals WHERE run_id = %s ORDER BY asked_at DESC", run)[0]

    def answers(self, run: UUID) -> list[str]:
        found = self.rows("SELECT body FROM workspace.messages WHERE run_id = %s AND author_kind = 'agent'", run)
        return [row["body"] for row in found]

    def records(self, member: Member) -> list[Row]:
        return self.rows("SELECT * FROM workspace.records WHERE company_id = %s", member.company_id)

    def file_versions(self, member: Member) -> list[Row]:
        return self.rows("SELECT * FROM workspace.file_versions WHERE company_id = %s", member.company_id)

    def audited(self, member: Member, run: UUID | None = None) -> list[str]:
        found = self.rows(
            "SELECT action FROM audit.events WHERE company_id = %s AND (%s::uuid IS NULL OR actor_run_id = %s)"
            " ORDER BY occurred_at",
            member.company_id,
            run,
            run,
        )
        return [row["action"] for row in found]

    def lapse(self, run: UUID) -> None:
        """Let time pass until the claim of a worker that went silent has lapsed."""
        self.rows("UPDATE agents.runs SET claim_expires_at = now() - interval '2 seconds' WHERE id = %s", run)

    def change_role(self, member: Member, role: str) -> None:
        self.rows(
            "UPDATE tenancy.memberships SET role = %s WHERE person_id = %s AND company_id = %s",
            role,
            member.person_id,
            member.company_id,
        )

    def remove(self, member: Member) -> None:
        self.rows(
            "UPDATE tenancy.memberships SET ended_at = now() WHERE person_id = %s AND company_id = %s",
            member.person_id,
            member.company_id,
        )


@pytest.fixture
def desk(pools: Pools, servers: Servers, tmp_path: Path, web_page: LoopbackServer) -> Desk:
    limits = FileLimits(file_bytes=100_000, total_bytes=1_000_000, entries=400)
    return Desk(pools, servers, FileStore(tmp_path / "workspaces", limits), (f"127.0.0.1:{web_page.port}",))


def allow(desk: Desk, member: Member, routes: RouteRegistry, *slugs: str, regions: tuple[str, ...] = ("EU",)) -> None:
    """Let the company of `member` use these routes and regions, and no others, as somebody has seen them now."""
    company, person = member.company_id, member.person_id
    desk.rows("DELETE FROM agents.allowed_routes WHERE company_id = %s", company)
    desk.rows("DELETE FROM agents.allowed_regions WHERE company_id = %s", company)
    for route in filter(None, map(routes.known, slugs)):
        desk.rows(
            "INSERT INTO agents.allowed_routes (company_id, slug, record_sha256, allowed_by) VALUES (%s, %s, %s, %s)",
            company,
            route.slug,
            route.record_sha256,
            person,
        )
    for region in regions:
        desk.rows(
            "INSERT INTO agents.allowed_regions (company_id, region, allowed_by) VALUES (%s, %s, %s)",
            company,
            region,
            person,
        )


def prove(desk: Desk, member: Member, *, recently: bool = True) -> None:
    """Let a member have proved themselves lately, or long ago."""
    desk.rows(
        "UPDATE identity.sessions SET password_at = now() - %s::interval WHERE person_id = %s",
        "1 second" if recently else "1 hour",
        member.person_id,
    )


class WorkerDied(BaseException):
    """Stands for the death of a worker: nothing of the product catches it."""


@dataclass
class Deaths:
    """Kills the worker in the `at`-th transaction of a run, counted from 1 over all who work on it.

    `committed` says whether the transaction was the last thing that the worker did, or the first that it did not do.
    """

    at: int
    committed: bool
    seen: int = 0

    @property
    def came(self) -> bool:
        return self.seen >= self.at

    @contextmanager
    def planned(self, monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
        real = journal.run_scope

        @asynccontextmanager
        async def mortal(pool: Pool, claim: Claim) -> AsyncGenerator[Scope]:
            async with real(pool, claim) as scope:
                yield scope
                self.seen += 1
                if self.seen == self.at and not self.committed:
                    raise WorkerDied
            if self.seen == self.at:
                raise WorkerDied

        with monkeypatch.context() as patched:
            patched.setattr(journal, "run_scope", mortal)
            patched.setattr(runner, "run_scope", mortal)
            yield


@pytest.fixture
async def equipped(desk: Desk) -> AsyncIterator[Desk]:
    """A desk whose worker has a shell."""
    runner = CommandRunner(Profile(CommandLimits(seconds=20)))
    try:
        await (await SandboxMember.start(Profile(CommandLimits()))).end()
    except ShellUnavailable as unavailable:
        pytest.skip(unavailable.public_text)
    yield replace(desk, commands=Shell(runner, DocumentReader(lambda: True)))
    await runner.close()


def sandboxed_sleeps() -> list[Path]:
    """The processes of this machine that sleep for the test, as the host sees them."""
    return [each.parent for each in Path("/proc").glob("[0-9]*/cmdline") if _sleeps(each)]


def _sleeps(file: Path) -> bool:
    try:
        return file.read_bytes() == b"sleep\x007654321\x00"
    except OSError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        await asyncio.sleep(0.05)
    pytest.fail("it did not come about")
