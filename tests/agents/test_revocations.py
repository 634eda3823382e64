"""A membership is removed, a role lowered or a password reset, in the middle of something: all of it is dead at once.

In the middle of a run, of a command in its sandbox, of a stream, of an approval, and before a schedule is due.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from datetime import time as clock_time
from statistics import median
from uuid import UUID

import pytest

from operalta.access.rules import Role
from operalta.agents.approvals import service as approvals
from operalta.agents.definitions import service as definitions
from operalta.agents.errors import ApprovalNotValid
from operalta.agents.schedules import service as schedules
from operalta.agents.schedules.beginning import Beginner
from operalta.agents.schedules.rules import Rhythm, Times, draft
from operalta.kernel.errors import NotAllowed, NotFound, NotSignedIn
from operalta.kernel.ids import PersonId
from operalta.tenancy.service import change_role, remove_member
from operalta.web import sse
from tests.agents.conftest import Desk, Office, Turn, sandboxed_sleeps, scripted, until
from tests.agents.test_revoked_sessions import reset_password
from tests.conftest import Member, Servers, World
from tests.web.site import Site, serving

pytestmark = pytest.mark.proves("5.0.1", "2.5.4")
REFUSED = (NotAllowed, NotFound, NotSignedIn)
ROUNDS, LONGEST_SECONDS = 10, 1.0


@pytest.fixture(scope="module")
def site(servers: Servers) -> Generator[Site]:
    with pytest.MonkeyPatch.context() as patched, serving(servers) as started:
        # Streams look as seldom as those to which nothing has come for a while.
        patched.setattr(sse, "QUIET_AFTER_SECONDS", 0.0)
        yield started


@dataclass
class Case:
    """Whose rights end, who ends them, and how; `ended_at` is the moment in which that was done."""

    desk: Desk
    site: Site
    office: Office
    end: "End"
    ended_at: float = 0.0

    @property
    def member(self) -> Member:
        return self.office.colleague

    async def revoke(self) -> None:
        await self.end(self.desk, self.office)
        self.ended_at = time.monotonic()

    def passed(self) -> float:
        return time.monotonic() - self.ended_at


End = Callable[[Desk, Office], Awaitable[None]]
Moment = Callable[[Case], Awaitable[float]]


# ── What ends ─────────────────────────────────────────────────────────────────────────────────────────


async def membership_removed(desk: Desk, office: Office) -> None:
    async with desk.scope(office.founder) as scope:
        await remove_member(scope, PersonId(office.colleague.person_id))


async def role_lowered(desk: Desk, office: Office) -> None:
    async with desk.scope(office.founder) as scope:
        await change_role(scope, PersonId(office.colleague.person_id), Role.OBSERVER)


async def password_reset(desk: Desk, office: Office) -> None:
    await asyncio.to_thread(reset_password, desk, office.colleague)


# ── In the middle of what; each returns after how many seconds it was dead ────────────────────────────


async def run(case: Case) -> float:
    """The model has been asked, and would answer much later."""
    desk, asked = case.desk, asyncio.Event()

    async def slow(number: int) -> Turn:
        if number == 0:
            asked.set()
            await asyncio.sleep(3600)
        return [("memory_record", {"kind": "decision", "title": "Too late"})]

    desk.model = scripted(slow)
    posted = await desk.write(case.member, "Record a decision, please.")
    working = asyncio.create_task(desk.work(posted.run_id))
    await asked.wait()
    await case.revoke()
    await working
    passed = case.passed()
    assert desk.status(posted.run_id) == "failed"
    assert (desk.answers(posted.run_id), desk.records(case.member)) == ([], [])
    return passed


async def command(case: Case) -> float:
    """A command sleeps in its sandbox, approved."""
    desk = case.desk
    posted = await desk.say(case.member, "/run sleep 7654321; echo late > late.txt")
    working = asyncio.create_task(desk.decide(case.member, posted.run_id, "once"))
    await until(lambda: len(sandboxed_sleeps()) == 1)
    await case.revoke()
    await until(lambda: sandboxed_sleeps() == [])
    passed = case.passed()
    await working
    assert desk.status(posted.run_id) == "failed"
    assert (desk.outcomes(posted.run_id), desk.file_versions(case.member)) == ([], [])
    return passed


async def stream(case: Case) -> float:
    """They follow a colleague's run in an open conversation, which goes on."""
    waiting = await case.desk.waiting(case.office.founder, private=False)
    client = case.site.member(case.member)
    address = f"/api/v1/companies/{case.member.company_slug}/runs/{waiting}/events"
    cookies = "; ".join(f"{name}={value}" for name, value in client.jar.items())
    reader, writer = await asyncio.open_connection("127.0.0.1", case.site.port)
    head = (
        f"GET {address} HTTP/1.1\r\nHost: localhost:{case.site.port}\r\nCookie: {cookies}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode())
    await reader.readuntil(b"event: approval_asked")
    await case.revoke()
    rest = await reader.read()
    passed = case.passed()
    writer.close()
    assert b"Your session or your place in this company has ended." in rest
    await case.desk.decide(case.office.founder, waiting, "once")
    again = await asyncio.to_thread(client.get, address)
    assert again.status in {401, 403, 404}
    assert b"tool_result" not in rest
    return passed


async def approval(case: Case) -> float:
    """One card of theirs waits, another has its yes, and nobody has gone on with it yet."""
    desk = case.desk
    asked, agreed = [await desk.waiting(case.member, private=False) for _ in range(2)]
    async with desk.scope(case.office.founder) as scope:
        await approvals.decide_approval(scope, desk.question(agreed)["id"], "once")
    await case.revoke()
    for decider, refusal in ((case.member, REFUSED), (case.office.founder, (ApprovalNotValid,))):
        with pytest.raises(refusal):
            async with desk.scope(decider) as scope:
                await approvals.decide_approval(scope, desk.question(asked)["id"], "once")
    passed = case.passed()
    for each in (asked, agreed):
        await desk.work(each)
        assert desk.status(each) == "failed"
    assert desk.file_versions(case.member) == []
    return passed


async def schedule(case: Case) -> float:
    """One of theirs is due in a moment."""
    desk = case.desk
    async with desk.scope(case.member) as scope:
        (agent, *_) = await definitions.list_agents(scope)
        times = Times(Rhythm.WEEKLY, (0,), None, clock_time(8), "UTC")
        made = await schedules.make_schedule(scope, agent.id, draft("Every Monday", "/decide Too late", times))
    desk.rows("UPDATE agents.schedules SET next_at = now() + interval '1 second' WHERE id = %s", made)
    await case.revoke()
    passed = case.passed()
    await asyncio.sleep(1.1)
    while await Beginner(desk.pools.job).begin_one():
        pass
    assert _runs(desk, made) == []
    return passed


def _runs(desk: Desk, made: UUID) -> list[UUID]:
    return [row["id"] for row in desk.rows("SELECT id FROM agents.runs WHERE schedule_id = %s", made)]


ENDS: tuple[End, ...] = (membership_removed, role_lowered, password_reset)
MOMENTS: tuple[Moment, ...] = (run, command, stream, approval, schedule)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("end", ENDS)
async def test_what_somebody_had_under_way_is_dead_with_their_rights(
    equipped: Desk, site: Site, office: Office, end: End, moment: Moment
) -> None:
    async with asyncio.timeout(60):
        await moment(Case(equipped, site, office, end))


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("end", ENDS)
async def test_it_is_dead_within_a_second(equipped: Desk, site: Site, world: World, end: End, moment: Moment) -> None:
    taken: list[float] = []
    for _ in range(ROUNDS):
        here = world.company()
        founder, colleague, stranger = world.member(here), world.member(here), world.member(world.company())
        office = Office(founder, colleague, founder, founder, stranger)
        taken.append(await moment(Case(equipped, site, office, end)))
    name = f"{getattr(end, '__name__', '')} in the middle of a {getattr(moment, '__name__', '')}"
    print(f"{name}: {median(taken):.3f} s, longest {max(taken):.3f} s")  # noqa: T201 - shown with -rP
    assert max(taken) < LONGEST_SECONDS
