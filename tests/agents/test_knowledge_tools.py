"""The tools that supersede, tie, measure, compare and look up talk: what they do, what is asked, what a card shows."""

from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest

from operalta.agents import service
from operalta.agents.going_on import retry_run
from operalta.kernel.ids import RecordId
from operalta.workspace.memory import service as memory
from operalta.workspace.metrics import service as metrics
from tests.agents.conftest import Desk, Office, calling
from tests.conftest import Member


async def recorded(desk: Desk, member: Member, title: str) -> UUID:
    async with desk.scope(member) as scope:
        return (await memory.record(scope, "decision", title, "As it was.", status="decided")).id


async def measured(desk: Desk, member: Member, slug: str, *values: int) -> None:
    async with desk.scope(member) as scope:
        await metrics.define(scope, slug, slug.upper(), unit="EUR")
        for month, value in enumerate(values, start=1):
            await metrics.record_point(scope, slug, date(2026, month, 1), Decimal(value))


async def test_typed_commands_supersede_tie_measure_and_compare(desk: Desk, office: Office) -> None:
    old = await recorded(desk, office.founder, "Bill monthly")
    await measured(desk, office.founder, "mrr", 100, 150)
    replaced = await desk.say(office.founder, f"/supersede {old} | Bill yearly | Two months free")
    new = desk.rows("SELECT superseded_by_id FROM workspace.records WHERE id = %s", old)[0]["superseded_by_id"]
    tied = await desk.say(office.founder, f"/tie {new} contradicts {old}")
    for run in (replaced.run_id, tied.run_id):
        assert [outcome for outcome, _ in desk.outcomes(run)] == ["success"], desk.answers(run)
    await desk.say(office.founder, "/measure mrr 300 2026-03-01 | after the fair")
    async with desk.scope(office.founder) as scope:
        found = await memory.get(scope, new)
        points = (await metrics.get(scope, "mrr")).points
    assert [(tie.relation, tie.id, tie.is_from_here) for tie in found.links] == [("contradicts", old, True)]
    assert (found.record.status, found.record.run_id) == ("decided", replaced.run_id)
    assert [(point.value, point.note) for point in points][-1] == (Decimal(300), "after the fair")
    compared = await desk.say(office.founder, "/compare mrr")
    assert (
        "100 EUR on 2026-01-01 | 300 EUR on 2026-03-01 | +200 | +200.0% | 100 | 300 | 3"
        in desk.answers(compared.run_id)[0]
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/supersede nothing | Title", "Write it like this"),
        ("/supersede 00000000-0000-0000-0000-000000000000 | Title", "There is no such entry"),
        ("/tie 00000000-0000-0000-0000-000000000000 supports zzzzzzzz-0000-0000-0000-000000000000", "identifier"),
        ("/measure none 5 2026-01-31", "no such metric"),
        ("/measure mrr five 2026-01-31", "digits"),
        ("/measure mrr 5 2026-99-31", "2026-01-31"),
        ("/compare a,b,c,d,e,f,g,h,i", "Name one to 8 metrics"),
    ],
)
async def test_a_refusal_says_what_to_do_instead_and_changes_nothing(
    desk: Desk, office: Office, text: str, said: str
) -> None:
    await measured(desk, office.founder, "mrr", 100)
    posted = await desk.say(office.founder, text)
    assert said in desk.answers(posted.run_id)[0]
    assert desk.records(office.founder) == []


@pytest.mark.proves("5.1.3", "5.5.1")
async def test_what_a_model_composes_is_asked_about_with_before_and_after(desk: Desk, office: Office) -> None:
    old = await recorded(desk, office.founder, "Bill monthly")
    await measured(desk, office.founder, "mrr", 100)
    desk.model = calling(
        ("memory_supersede", {"record": str(old), "title": "Bill yearly", "reason": "Churn"}),
        ("metrics_record", {"slug": "mrr", "on_date": "2026-01-01", "value": "999"}),
    )
    posted = await desk.say(office.founder, "Replace what no longer holds, and record the value of the metric.")
    asked = desk.rows(
        "SELECT tool, before, after FROM agents.approvals WHERE run_id = %s ORDER BY asked_at", posted.run_id
    )
    assert [(row["tool"], row["before"], row["after"]) for row in asked] == [
        ("memory_supersede", "Bill monthly\n\nAs it was.", "In its place: Bill yearly\n\nBecause: Churn"),
        ("metrics_record", "2026-01-01: 100 EUR", "2026-01-01: 999 EUR"),
    ]
    assert [row["status"] for row in desk.records(office.founder)] == ["decided"]


@pytest.mark.proves("5.1.3")
async def test_the_tools_give_the_role_the_same_verdict_as_the_pages(desk: Desk, office: Office) -> None:
    old = await recorded(desk, office.founder, "Bill monthly")
    await measured(desk, office.founder, "mrr", 100)
    for text in (f"/supersede {old} | Bill yearly", "/measure mrr 5 2026-01-31"):
        posted = await desk.say(office.investor, text)
        assert desk.status(posted.run_id) != "waiting_for_approval"
        assert [outcome for outcome, _ in desk.outcomes(posted.run_id)] in ([], ["denied"])
    assert len(desk.records(office.founder)) == 1


def tie(first: UUID, second: UUID) -> tuple[str, dict[str, object]]:
    return "memory_link", {"record": str(first), "other": str(second)}


@pytest.mark.proves("5.5.1")
async def test_entries_that_the_message_names_are_tied_without_asking_and_no_others(desk: Desk, office: Office) -> None:
    yearly = await recorded(desk, office.founder, "Bill by the year")
    fewer = await recorded(desk, office.founder, "Send fewer invoices")
    other = await recorded(desk, office.founder, "Hire a bookkeeper")
    text = "Please link Bill by the year to Send fewer invoices."
    desk.model = calling(tie(yearly, fewer))
    assert desk.status((await desk.say(office.founder, text)).run_id) == "finished"
    for wrong in (tie(yearly, other), tie(other, fewer)):
        desk.model = calling(wrong)
        assert desk.status((await desk.say(office.founder, text)).run_id) == "waiting_for_approval"
    desk.model = calling(tie(fewer, yearly))
    assert desk.status((await desk.say(office.founder, "What about Bill by the year?")).run_id) != "finished", "no verb"


@pytest.mark.proves("5.5.1")
@pytest.mark.parametrize(
    "trap", ["two of the name", "one of two is gone since", "an agent's own", "newer", "one word", "superseded", "key"]
)
async def test_a_name_that_may_mean_something_else_is_asked_about(desk: Desk, office: Office, trap: str) -> None:
    first = twin = await recorded(desk, office.founder, "Bill by the year" if trap != "one word" else "Prices")
    second = await recorded(desk, office.founder, "Send fewer invoices")
    desk.model = calling(tie(first, second))
    if trap in {"two of the name", "one of two is gone since"}:
        twin = await recorded(desk, office.colleague, "bill by the YEAR")
    if trap == "an agent's own":
        earlier = await desk.say(office.founder, "/help")
        desk.rows("UPDATE workspace.records SET run_id = %s WHERE id = %s", earlier.run_id, first)
    if trap == "newer":
        desk.rows("UPDATE workspace.records SET created_at = now() + interval '1 minute' WHERE id = %s", first)
    text = f"Please link {'Prices' if trap == 'one word' else 'Bill by the year'} to Send fewer invoices."
    posted = await desk.write(office.founder, text)
    if trap == "superseded":
        desk.rows("UPDATE workspace.records SET status = 'superseded' WHERE id = %s", first)
    if trap == "one of two is gone since":
        async with desk.scope(office.colleague) as scope:
            await memory.supersede(scope, RecordId(twin), "Bill twice a year")
    if trap == "key":
        desk.rows("UPDATE agents.runs SET due_at = now() WHERE id = %s", posted.run_id)
    await desk.work(posted.run_id)
    assert desk.status(posted.run_id) == "waiting_for_approval"


@pytest.mark.proves("5.5.1")
async def test_a_message_that_is_tried_again_names_only_what_was_there_when_it_was_typed(
    desk: Desk, office: Office
) -> None:
    second = await recorded(desk, office.founder, "Send fewer invoices")
    posted = await desk.write(office.founder, "Please link Bill by the year to Send fewer invoices.")
    async with desk.scope(office.founder) as scope:
        await service.stop_run(scope, posted.run_id)
    await desk.work(posted.run_id)
    desk.model = calling(tie(await recorded(desk, office.colleague, "Bill by the year"), second))
    async with desk.scope(office.founder) as scope:
        again = await retry_run(scope, posted.run_id)
    await desk.work(again)
    assert desk.status(again) == "waiting_for_approval"


@pytest.mark.proves("5.5.1")
async def test_a_metric_is_meant_by_its_name(desk: Desk, office: Office) -> None:
    await measured(desk, office.founder, "mrr", 100)
    for slug in ("arr", "for", "record"):
        await measured(desk, office.founder, slug, 900)
    desk.rows("UPDATE workspace.metrics SET name = 'Monthly revenue' WHERE slug = 'mrr'")
    text = "Record 300 for Monthly revenue on 2026-03-01."
    value = {"on_date": "2026-03-01", "value": "300"}
    for wrong in ("arr", "for", "record"):
        desk.model = calling(("metrics_record", {"slug": wrong, **value}))
        assert desk.status((await desk.say(office.founder, text)).run_id) == "waiting_for_approval"
    for said in (text, "Record 300 for mrr on 2026-03-01."):
        desk.model = calling(("metrics_record", {"slug": "mrr", **value}))
        assert desk.status((await desk.say(office.founder, said)).run_id) == "finished"


@pytest.mark.proves("5.1.1")
async def test_talk_is_found_by_its_words_and_colleagues_private_talk_is_not(desk: Desk, office: Office) -> None:
    await desk.say(office.colleague, "/find the harvest plan of the orchard", private=True)
    await desk.say(office.colleague, "/find the winter plan of the orchard", private=False)
    await desk.say(office.stranger, "/find the spring plan of the orchard", private=False)
    posted = await desk.say(office.founder, "/said orchard")
    content = next(event for event in desk.events(posted.run_id) if event["kind"] == "tool_result")["body"]["content"]
    assert "winter" in content["content"]
    assert "harvest" not in content["content"]
    assert "spring" not in content["content"]
    assert content["from_outside"] is True
    # The function that looks past row security holds to it by itself, too: it names no message that cannot be read.
    async with desk.scope(office.founder) as scope:
        named = await scope.all("SELECT message_id AS id FROM workspace.search_messages('orchard', 50)", {})
        readable = await scope.all(
            "SELECT id FROM workspace.messages WHERE company_id = %(here)s", {"here": scope.company}
        )
    assert named
    assert {row["id"] for row in named} <= {row["id"] for row in readable}
