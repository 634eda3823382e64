"""Recording events and reading them, with a real database."""

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.audit import service
from operalta.audit.details import recordable
from operalta.audit.errors import UnreadableCursor, UnreadableQuery
from operalta.audit.findings import FindingKind, LogVerdict
from operalta.audit.queries import EventCursor, EventFilters, parse_query
from operalta.audit.rules import Action, Outcome
from operalta.db.scope import Origin, open_company_scope
from operalta.kernel.errors import NotAllowed
from operalta.kernel.ids import RequestId
from tests.audit.conftest import Log
from tests.conftest import Member, Pools, Servers, World


@pytest.mark.proves("2.5.5")
async def test_an_event_names_actor_company_target_and_outcome(servers: Servers, pools: Pools, world: World) -> None:
    company = world.company()
    member = world.member(company)
    request = RequestId(uuid4())
    origin = Origin(request, "203.0.113.9")
    async with open_company_scope(pools.web, member.session_secret, company[1], origin) as scope:
        event = await service.record(scope, Action.MEMORY_RECORDED, "decision", 17, kind="decision", ratio=0.5)
    with servers.as_owner() as owner:
        row = owner.execute("SELECT * FROM audit.events WHERE id = %s", (event,)).fetchone()
    assert row is not None
    assert row["company_id"] == company[0]
    assert row["actor_person_id"] == member.person_id
    assert (row["actor_kind"], row["action"], row["target_kind"]) == ("person", "memory.recorded", "decision")
    assert (row["target_id"], row["outcome"], row["request_id"]) == ("17", "succeeded", request)
    assert (row["origin"], row["detail"]) == ("203.0.113.9", {"kind": "decision", "ratio": "0.5"})


async def write(pools: Pools, member: Member, *targets: str, action: Action = Action.FILE_WRITTEN) -> None:
    for target in targets:
        async with open_company_scope(pools.web, member.session_secret, member.company_slug, Origin()) as scope:
            await service.record(scope, action, "file", target)


@pytest.mark.proves("2.5.5")
async def test_an_event_lives_and_dies_with_its_transaction(log: Log, pools: Pools, world: World) -> None:
    member = world.member(world.company())

    async def change_that_fails() -> None:
        async with open_company_scope(pools.web, member.session_secret, member.company_slug, Origin()) as scope:
            await service.record(scope, Action.FILE_WRITTEN, "file", "report.txt")
            raise RuntimeError("the change failed")

    with pytest.raises(RuntimeError, match="the change failed"):
        await change_that_fails()
    assert await log.sealer(pools).seal_once() == 0


@pytest.mark.parametrize(
    ("detail", "kept"),
    [
        (
            {"id": UUID(int=5), "at": datetime(2026, 1, 2, tzinfo=UTC)},
            {"id": str(UUID(int=5)), "at": "2026-01-02T00:00:00.000000Z"},
        ),
        ({"amount": 1.5, "nested": [{"x": 2.0}]}, {"amount": "1.5", "nested": [{"x": "2.0"}]}),
        ({"roles": ("a", "b"), "no": None, "yes": True}, {"roles": ["a", "b"], "no": None, "yes": True}),
    ],
)
def test_a_detail_is_brought_into_a_form_that_can_be_committed_to(
    detail: dict[str, object], kept: dict[str, object]
) -> None:
    assert recordable(detail) == kept


@pytest.mark.parametrize(
    "detail", [{"text": "x" * 20_000}, {"text": "a\0b"}, {"text": "\ud800"}, {"number": 2**80}, {"list": [1] * 9000}]
)
async def test_a_detail_that_cannot_be_kept_is_named_by_its_digest(
    log: Log, pools: Pools, world: World, detail: dict[str, Any]
) -> None:
    member = world.member(world.company())
    async with open_company_scope(pools.web, member.session_secret, member.company_slug, Origin()) as scope:
        await service.record(scope, Action.TOOL_CALLED, "tool", "x" * 1000 + "\0", **detail)
        (listed,) = (await service.list_events(scope)).events
    assert listed.detail.keys() <= {"sha256", "characters", "list"}
    assert await log.sealer(pools).seal_once() == 1
    assert (await log.check()).verdict is LogVerdict.WHOLE


@pytest.mark.usefixtures("log")
async def test_a_reader_pages_through_the_events_and_filters_them(pools: Pools, world: World) -> None:
    company = world.company()
    ada, grace = world.member(company), world.member(company)
    await write(pools, ada, *(f"report-{number}" for number in range(5)))
    await write(pools, grace, "notes", action=Action.FILE_DELETED)
    await write(pools, world.member(world.company()), "elsewhere")
    async with open_company_scope(pools.web, ada.session_secret, company[1], Origin()) as scope:
        seen: list[str | None] = []
        cursor: EventCursor | None = None
        while True:
            page = await service.list_events(scope, cursor=cursor, limit=4)
            seen += [event.target_id for event in page.events]
            if page.next_cursor is None:
                break
            cursor = EventCursor.from_text(page.next_cursor.to_text())
        assert seen == ["notes", "report-4", "report-3", "report-2", "report-1", "report-0"]

        async def found(query: str) -> int:
            return len((await service.list_events(scope, parse_query(query))).events)

        assert await found(f"actor:{ada.person_id}") == 5
        assert await found(f"actor:{grace.email}") == 1
        assert await found("action:file.*") == 6
        assert await found("action:file.del") == 1
        assert await found("action:file_") == 0
        assert await found("report-1") == 1
        assert await found("REPORT action:file.written outcome:succeeded") == 5
        assert await found("outcome:refused") == 0
        assert await found("created:>2020-01-01") == 6
        assert await found("created:<2020-01-01") == 0
        assert await found("actor:%' OR 1=1 --") == 0


async def test_the_log_is_closed_to_roles_without_the_permission(log: Log, pools: Pools, world: World) -> None:
    company = world.company()
    advisor = world.member(company, "advisor")
    await write(pools, advisor, "report")
    async with open_company_scope(pools.web, advisor.session_secret, company[1], Origin()) as scope:
        with pytest.raises(NotAllowed):
            await service.list_events(scope)
        with pytest.raises(NotAllowed):
            await service.chain_state(scope)
        with pytest.raises(NotAllowed):
            await service.verify_company(scope, log.verify)
        assert await scope.all("SELECT * FROM audit.events") == []
        assert await scope.all("SELECT * FROM audit.leaves") == []


@pytest.mark.proves("2.5.5")
async def test_a_company_checks_its_own_events_without_seeing_others(log: Log, pools: Pools, world: World) -> None:
    member, other = world.member(world.company()), world.member(world.company())
    sealer = log.sealer(pools)
    async with open_company_scope(pools.web, member.session_secret, member.company_slug, Origin()) as scope:
        assert (await service.verify_company(scope, log.verify)).verdict is LogVerdict.WHOLE
    for number in range(4):
        await write(pools, member, f"own-{number}")
        await write(pools, other, f"foreign-{number}", f"more-{number}")
        await sealer.seal_once()
    await write(pools, member, "not sealed yet")
    async with open_company_scope(pools.web, member.session_secret, member.company_slug, Origin()) as scope:
        state = await service.chain_state(scope)
        assert (state.sealed, state.unsealed, state.company_unsealed) == (13, 1, 1)
        assert state.head is not None
        assert state.head.size == 13
        report = await service.verify_company(scope, log.verify, known=5)
    assert (report.verdict, report.findings) == (LogVerdict.WHOLE, ())
    assert (report.counts.leaves, report.counts.proved, report.counts.unsealed) == (5, 5, 1)


TAMPERING: dict[str, tuple[LiteralString, FindingKind]] = {
    "edited": (
        "UPDATE audit.events SET target_id = 'other' WHERE company_id = %s AND company_number = 2",
        FindingKind.EDITED_EVENT,
    ),
    "deleted": ("DELETE FROM audit.events WHERE company_id = %s AND company_number = 2", FindingKind.MISSING_EVENT),
    "given to another company": (
        "UPDATE audit.events SET company_id = gen_random_uuid() WHERE company_id = %s AND company_number = 2",
        FindingKind.MISSING_EVENT,
    ),
    "leaf deleted": ("DELETE FROM audit.leaves WHERE company_id = %s AND company_number = 2", FindingKind.NUMBER_GAP),
    "last leaf deleted": (
        "DELETE FROM audit.leaves WHERE company_id = %s AND company_number = 3",
        FindingKind.MISSING_LEAF,
    ),
    "edited, and committed to anew": (
        """
        WITH changed AS (UPDATE audit.events SET target_id = 'other' WHERE company_id = %s AND company_number = 2
            RETURNING id)
        UPDATE audit.leaves SET commitment = sha256('forged') WHERE event_id = (SELECT id FROM changed)
        """,
        FindingKind.NOT_INCLUDED,
    ),
    "node exchanged": (
        "UPDATE audit.nodes SET hash = sha256('forged') WHERE level = 1 AND %s IS NOT NULL",
        FindingKind.NOT_INCLUDED,
    ),
}


@pytest.mark.proves("2.5.5")
@pytest.mark.parametrize("what", TAMPERING)
async def test_a_company_finds_tampering_with_its_own_events(
    what: str, log: Log, pools: Pools, world: World, servers: Servers
) -> None:
    member = world.member(world.company())
    await write(pools, member, "first", "second", "third")
    await log.sealer(pools).seal_once()
    statement, expected = TAMPERING[what]
    with servers.as_owner() as owner:
        assert owner.execute(statement, (member.company_id,)).rowcount
    async with open_company_scope(pools.web, member.session_secret, member.company_slug, Origin()) as scope:
        report = await service.verify_company(scope, log.verify)
        (event,) = (await service.list_events(scope, parse_query("action:audit.verified"))).events
    assert report.verdict is LogVerdict.TAMPERED
    assert expected in report.totals
    assert (event.outcome, event.detail["verdict"]) == ("failed", "tampered")


@pytest.mark.parametrize(
    "text", ["colour:blue", 'actor:"ada', "created:yesterday", "created:2026-02-30", "x" * 401, "outcome:odd"]
)
def test_a_search_that_cannot_be_read_says_what_to_write(text: str) -> None:
    with pytest.raises(UnreadableQuery):
        parse_query(text)


def test_a_search_is_read_into_filters() -> None:
    day = datetime(2026, 1, 31, tzinfo=UTC)
    filters = parse_query(
        'actor:"Ada L" action:memory.* outcome:refused created:>=2026-01-31 created:<=2026-01-31 plan b'
    )
    assert (filters.actor, filters.action, filters.outcome, filters.words) == (
        "Ada L",
        "memory.",
        Outcome.REFUSED,
        "plan b",
    )
    assert (filters.since, filters.until) == (day, day + timedelta(days=1))
    assert parse_query("created:2026-01-31") == EventFilters(since=day, until=day + timedelta(days=1))
    assert parse_query("created:>2026-01-31") == EventFilters(since=day + timedelta(days=1))
    assert parse_query("created:<2026-01-31") == EventFilters(until=day)
    assert parse_query("") == EventFilters()


@given(st.text(max_size=300))
def test_no_search_and_no_cursor_breaks_the_reader(text: str) -> None:
    for read in (parse_query, EventCursor.from_text):
        try:
            read(text)
        except (UnreadableQuery, UnreadableCursor):
            continue
