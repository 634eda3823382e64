"""The memory ledger on the real database: histories, provenance, search, roles, other companies."""

import asyncio
from typing import LiteralString

import psycopg
import pytest

from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.kernel.ids import ApprovalId, PersonId, RecordId, new_id
from operalta.workspace.errors import AlreadySuperseded, NoSuchLink, NoSuchRecord, NotAMember, StatusNotReachable
from operalta.workspace.memory import service as memory
from operalta.workspace.memory.rules import Record, Status
from tests.workspace.conftest import Look, Office, Opening, RunOpening


async def test_a_decision_is_recorded_and_lives_its_life(office: Office, scope_of: Opening, look: Look) -> None:
    async with scope_of(office.founder) as scope:
        made = await memory.record(
            scope,
            "decision",
            " Raise prices ",
            "By 10 %.",
            evidence="Survey",
            owner_id=PersonId(office.advisor.person_id),
        )
        await memory.change_status(scope, made.id, "decided", "The board agreed.")
    assert (made.title, made.status, made.owner_id) == ("Raise prices", Status.PROPOSED, office.advisor.person_id)
    async with scope_of(office.observer) as scope:
        found = await memory.get(scope, made.id)
    assert found.record.status is Status.DECIDED
    assert found.record.recorded_by == office.founder.person_id
    assert found.record.recorded_by_name == office.founder.email.partition("@")[0]
    assert (found.record.run_id, found.record.approval_id) == (None, None)
    assert [(line.change, line.before, line.after, line.note) for line in found.history] == [
        ("recorded", None, "proposed", ""),
        ("status changed", "proposed", "decided", "The board agreed."),
    ]
    assert found.next_statuses == (Status.WITHDRAWN,)
    assert look.actions(office.founder.company_id) == ["memory.recorded", "memory.status_changed"]


async def test_superseding_keeps_the_old_words_and_both_histories(
    office: Office, scope_of: Opening, look: Look
) -> None:
    async with scope_of(office.founder) as scope:
        old = await memory.record(scope, "decision", "Sell to banks", status="decided")
        new = await memory.supersede(scope, old.id, "Sell to insurers", status="decided", note="Banks are slow.")
        before, after = await memory.get(scope, old.id), await memory.get(scope, new.id)
    assert (before.record.title, before.record.status) == ("Sell to banks", Status.SUPERSEDED)
    assert (before.record.superseded_by_id, after.record.supersedes_id) == (new.id, old.id)
    assert [line.change for line in before.history] == ["recorded", "superseded"]
    assert [line.note for line in after.history] == ["Banks are slow."]
    assert before.next_statuses == ()
    async with scope_of(office.advisor) as scope:
        with pytest.raises(AlreadySuperseded):
            await memory.supersede(scope, old.id, "Sell to schools")
        with pytest.raises(AlreadySuperseded):
            await memory.change_status(scope, old.id, "withdrawn")
        with pytest.raises(StatusNotReachable):
            await memory.change_status(scope, new.id, "superseded")
    assert look.actions(office.founder.company_id) == ["memory.recorded", "memory.superseded"]


async def test_of_two_who_supersede_at_once_one_wins(office: Office, scope_of: Opening) -> None:
    async with scope_of(office.founder) as scope:
        old = await memory.record(scope, "blocker", "No licence")

    together = asyncio.Barrier(4)

    async def supersede(title: str) -> Record:
        async with scope_of(office.founder) as scope:
            await together.wait()
            return await memory.supersede(scope, old.id, title)

    results = await asyncio.gather(*(supersede(f"Try {number}") for number in range(4)), return_exceptions=True)
    assert sum(isinstance(result, Record) for result in results) == 1
    assert sum(isinstance(result, AlreadySuperseded) for result in results) == 3


@pytest.mark.proves("2.4.2")
async def test_another_company_sees_and_changes_nothing(office: Office, scope_of: Opening) -> None:
    async with scope_of(office.founder) as scope:
        made = await memory.record(scope, "hypothesis", "Zebras pay annually")
    async with scope_of(office.stranger) as scope:
        assert await memory.search(scope, "zebras") == ()
        assert (await memory.list_records(scope)).items == ()
        assert (await memory.list_records(scope, query="zebras")).items == ()
        for attempt in (
            memory.get(scope, made.id),
            memory.change_status(scope, made.id, "supported"),
            memory.supersede(scope, made.id, "Mine"),
        ):
            with pytest.raises(NoSuchRecord):
                await attempt
        assert await scope.all("SELECT id FROM workspace.records") == []
        assert await scope.all("SELECT id FROM workspace.record_history") == []
        assert await scope.execute("UPDATE workspace.records SET status = 'open'") == 0


@pytest.mark.proves("2.4.2", "2.5.3")
@pytest.mark.parametrize("role", ["investor", "observer"])
async def test_who_may_only_read_cannot_write_by_the_service_nor_by_sql(
    office: Office, scope_of: Opening, role: str
) -> None:
    member = office.investor if role == "investor" else office.observer
    async with scope_of(office.founder) as scope:
        made = await memory.record(scope, "decision", "Stay small")
    async with scope_of(member) as scope:
        assert (await memory.get(scope, made.id)).record.title == "Stay small"
        for attempt in (
            memory.record(scope, "decision", "Grow"),
            memory.change_status(scope, made.id, "decided"),
            memory.supersede(scope, made.id, "Grow"),
        ):
            with pytest.raises(NotAllowed):
                await attempt
        assert await scope.execute("UPDATE workspace.records SET status = 'decided'") == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await scope.execute(
                "INSERT INTO workspace.records (company_id, id, kind, title, status, owner_id, recorded_by)"
                " VALUES (%(company)s, gen_random_uuid(), 'decision', 'x', 'decided', %(person)s, %(person)s)",
                {"company": scope.company, "person": scope.actor.person_id},
            )


@pytest.mark.parametrize(
    "overwrite",
    [
        "UPDATE workspace.records SET title = 'changed'",
        "UPDATE workspace.records SET recorded_by = owner_id",
        "DELETE FROM workspace.records",
        "DELETE FROM workspace.record_history",
        "UPDATE workspace.record_history SET note = 'changed'",
    ],
)
async def test_the_database_lets_nobody_overwrite_the_ledger(
    office: Office, scope_of: Opening, overwrite: LiteralString
) -> None:
    async with scope_of(office.founder) as scope:
        await memory.record(scope, "decision", "Stay small")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with scope_of(office.founder) as scope:
            await scope.execute(overwrite)


async def test_a_member_cannot_record_in_a_colleagues_name(office: Office, scope_of: Opening) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with scope_of(office.advisor) as scope:
            await scope.execute(
                "INSERT INTO workspace.records (company_id, id, kind, title, status, owner_id, recorded_by)"
                " VALUES (%(company)s, gen_random_uuid(), 'decision', 'x', 'decided', %(person)s, %(person)s)",
                {"company": scope.company, "person": office.founder.person_id},
            )


@pytest.mark.proves("5.1.3")
async def test_an_agent_records_by_the_same_function_with_its_run_as_provenance(
    office: Office, scope_of: Opening, run_for: RunOpening, look: Look
) -> None:
    approval = ApprovalId(new_id())
    async with run_for(office.founder) as (scope, _):
        made = await memory.record(scope, "experiment", "Try a free month", approval_id=approval)
        run = scope.actor.run_id
    async with scope_of(office.founder) as scope:
        found = await memory.get(scope, made.id)
        with pytest.raises(InvalidInput):
            await memory.record(scope, "experiment", "x", approval_id=approval)
    assert (found.record.run_id, found.record.approval_id, found.history[0].run_id) == (run, approval, run)
    assert found.record.recorded_by == office.founder.person_id
    event = look.rows("SELECT actor_kind, actor_run_id FROM audit.events WHERE target_id = %s", str(made.id))
    assert event == [{"actor_kind": "run", "actor_run_id": run}]
    async with run_for(office.investor) as (scope, _):
        with pytest.raises(NotAllowed):
            await memory.record(scope, "experiment", "Not for readers")


@pytest.mark.proves("5.1.3")
async def test_a_run_cannot_pass_its_writing_off_as_a_persons(office: Office, run_for: RunOpening) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with run_for(office.founder) as (scope, _):
            await scope.execute(
                "INSERT INTO workspace.records (company_id, id, kind, title, status, owner_id, recorded_by)"
                " VALUES (%(company)s, gen_random_uuid(), 'decision', 'x', 'decided', %(person)s, %(person)s)",
                {"company": scope.company, "person": scope.actor.person_id},
            )


async def test_search_finds_by_words_and_ranks_the_title_first(office: Office, scope_of: Opening) -> None:
    async with scope_of(office.founder) as scope:
        body = await memory.record(scope, "decision", "Go to market", "Our pricing stays.")
        title = await memory.record(scope, "hypothesis", "Pricing by seat")
        await memory.record(scope, "blocker", "Hiring")
        assert [one.id for one in await memory.search(scope, "pricing")] == [title.id, body.id]
        assert [one.id for one in await memory.search(scope, "pricing", ("decision", "blocker"))] == [body.id]
        assert len(await memory.search(scope, "what is the pricing of hiring")) == 3
        assert await memory.search(scope, "   ") == ()
        assert await memory.search(scope, "') OR 1=1 --") == ()
        assert [one.id for one in (await memory.list_records(scope, query="pricing")).items] == [title.id, body.id]
        with pytest.raises(InvalidInput):
            await memory.search(scope, "pricing", ("rumour",))


async def test_pages_hold_every_entry_once_newest_first(office: Office, scope_of: Opening) -> None:
    async with scope_of(office.founder) as scope:
        made = [await memory.record(scope, "decision", f"Number {number}") for number in range(5)]
        await memory.record(scope, "blocker", "Another kind")
        seen: list[RecordId] = []
        cursor: str | None = None
        for _ in range(3):
            page = await memory.list_records(scope, "decision", cursor=cursor, limit=2)
            seen += [one.id for one in page.items]
            cursor = page.next_cursor
        assert cursor is None
        assert seen == [one.id for one in reversed(made)]
        for cursor in ("garbage", "", "W10"):
            with pytest.raises(InvalidInput):
                await memory.list_records(scope, cursor=cursor)
        for limit in (0, 101):
            with pytest.raises(InvalidInput):
                await memory.list_records(scope, limit=limit)


async def test_what_cannot_be_kept_is_refused(office: Office, scope_of: Opening) -> None:
    async with scope_of(office.founder) as scope:
        for arguments in (
            ("rumour", "Title", ""),
            ("decision", "", ""),
            ("decision", "x" * 201, ""),
            ("decision", "two\nlines", ""),
            ("decision", "Title", "x" * 20_001),
            ("decision", "Title", "NUL \x00"),
        ):
            with pytest.raises(InvalidInput):
                await memory.record(scope, *arguments)
        with pytest.raises(NotAMember):
            await memory.record(scope, "decision", "Title", owner_id=PersonId(office.stranger.person_id))
        assert (await memory.list_records(scope)).items == ()


async def test_entries_are_tied_and_untied_with_a_line_of_history(
    office: Office, scope_of: Opening, look: Look
) -> None:
    async with scope_of(office.founder) as scope:
        first = await memory.record(scope, "experiment", "Ask on day two")
        second = await memory.record(scope, "hypothesis", "Teams stay longer")
        await memory.link(scope, first.id, "tests", second.id, "Since May.")
        await memory.link(scope, first.id, "tests", second.id)
        here, there = await memory.get(scope, first.id), await memory.get(scope, second.id)
        assert [(tie.relation, tie.title, tie.is_from_here) for tie in here.links] == [("tests", second.title, True)]
        assert [(tie.relation, tie.title, tie.is_from_here) for tie in there.links] == [("tests", first.title, False)]
        assert here.history[-1].note == "tests “Teams stay longer”. Since May."
        await memory.unlink(scope, first.id, "tests", second.id)
        with pytest.raises(NoSuchLink):
            await memory.unlink(scope, first.id, "tests", second.id)
        after = await memory.get(scope, first.id)
    assert after.links == ()
    assert [line.change for line in after.history] == ["recorded", "linked", "unlinked"]
    assert look.actions(office.founder.company_id)[-2:] == ["memory.linked", "memory.unlinked"]


@pytest.mark.proves("2.4.2", "2.5.3")
async def test_ties_lead_to_no_other_company_and_are_for_who_may_write(office: Office, scope_of: Opening) -> None:
    async with scope_of(office.stranger) as scope:
        foreign = await memory.record(scope, "decision", "Elsewhere")
    async with scope_of(office.founder) as scope:
        own = await memory.record(scope, "decision", "Here")
        for first, second in ((own.id, foreign.id), (foreign.id, own.id)):
            with pytest.raises(NoSuchRecord):
                await memory.link(scope, first, "blocks", second)
        with pytest.raises(InvalidInput):
            await memory.link(scope, own.id, "blocks", own.id)
        with pytest.raises(InvalidInput):
            await memory.link(scope, own.id, "likes", own.id)
    async with scope_of(office.founder) as scope:
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            await scope.execute(
                "INSERT INTO workspace.record_links (company_id, record_id, relation, linked_id, linked_by)"
                " VALUES (%(company)s, %(own)s, 'blocks', %(foreign)s, %(person)s)",
                {"company": scope.company, "own": own.id, "foreign": foreign.id, "person": scope.actor.person_id},
            )
    async with scope_of(office.observer) as scope:
        with pytest.raises(NotAllowed):
            await memory.link(scope, own.id, "blocks", foreign.id)
