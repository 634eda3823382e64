"""Who may decide about which class, held by the database; and a yes that is void once its giver may not give it."""

from collections.abc import Callable
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from operalta.agents.approvals import deciders
from operalta.agents.approvals import service as approvals
from operalta.agents.approvals import store as approval_store
from operalta.agents.approvals.deciders import Deciders
from operalta.agents.errors import NotTheirsToDecide
from operalta.agents.registry import ToolClass
from operalta.identity.errors import NotProved
from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.kernel.ids import PersonId
from operalta.tenancy.service import remove_member
from tests.agents.conftest import Desk, Office
from tests.conftest import Member

pytestmark = pytest.mark.proves("5.5.1", "5.3.3")
EVERYBODY = ("advisor", "founder")


async def rule(desk: Desk, member: Member, tool_class: ToolClass, *roles: str, second: bool = False) -> None:
    async with desk.scope(member) as scope:
        await deciders.change_rules(scope, {tool_class: Deciders(roles, second)})


async def decide(desk: Desk, member: Member, run: UUID, decision: str = "once") -> None:
    async with desk.scope(member) as scope:
        await approvals.decide_approval(scope, desk.question(run)["id"], decision)


async def by_sql(desk: Desk, member: Member, run: UUID) -> set[UUID]:
    """Decide as whoever can run SQL of their own in this person's scope."""
    question = desk.question(run)
    async with desk.scope(member) as scope:
        return await approval_store.decide(scope, {question["id"]: question["arguments_sha256"]}, "once")


def of_class(desk: Desk, run: UUID, tool_class: str) -> None:
    desk.rows("UPDATE agents.approvals SET tool_class = %s WHERE run_id = %s", tool_class, run)


async def test_what_holds_at_first(desk: Desk, office: Office) -> None:
    async with desk.scope(office.investor) as scope:
        rules = {each.tool_class: each for each in await deciders.list_rules(scope)}
    assert list(rules) == list(ToolClass)
    founders = {each for each, held in rules.items() if held.roles == ("founder",)}
    assert founders == {ToolClass.MONEY, ToolClass.IDENTITY, ToolClass.PUBLISH, ToolClass.DESTROY}
    assert {held.roles for each, held in rules.items() if each not in founders} == {EVERYBODY}
    assert not any(held.second_person for held in rules.values())


@pytest.mark.parametrize("tool_class", ToolClass)
async def test_the_database_itself_refuses_a_role_that_does_not_decide_a_class(
    desk: Desk, office: Office, tool_class: ToolClass
) -> None:
    run = await desk.waiting(office.founder, private=False)
    of_class(desk, run, tool_class.value)
    await rule(desk, office.founder, tool_class, "founder")
    with pytest.raises(NotTheirsToDecide):
        await decide(desk, office.advisor, run)
    assert await by_sql(desk, office.advisor, run) == set()
    await rule(desk, office.founder, tool_class, *EVERYBODY)
    assert await by_sql(desk, office.advisor, run) == {desk.question(run)["id"]}


async def test_a_class_that_nobody_knows_is_decided_by_nobody(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder, private=False)
    of_class(desk, run, "harmless")
    assert await by_sql(desk, office.founder, run) == set()


async def test_a_second_person_decides_where_the_company_wants_one(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder, private=False)
    await rule(desk, office.founder, ToolClass(desk.question(run)["tool_class"]), *EVERYBODY, second=True)
    async with desk.scope(office.founder) as scope:
        shown = await approvals.get_approval(scope, desk.question(run)["id"])
    assert (shown.needs_second_person, shown.may_decide) == (True, False)
    with pytest.raises(NotTheirsToDecide):
        await decide(desk, office.founder, run)
    assert await by_sql(desk, office.founder, run) == set()
    await decide(desk, office.advisor, run)
    await desk.work(run)
    assert desk.status(run) == "finished"


async def test_rules_are_changed_by_who_manages_the_company_with_a_recent_proof(desk: Desk, office: Office) -> None:
    for member in (office.advisor, office.investor):
        with pytest.raises(NotAllowed):
            await rule(desk, member, ToolClass.EGRESS, "founder")
        async with desk.scope(member) as scope:
            assert await approval_store.change_class_rule(scope, "egress", [], second_person=False) == "refused"
    aged = "UPDATE identity.sessions SET password_at = now() - interval '1 hour' WHERE person_id = %s"
    desk.rows(aged, office.founder.person_id)
    with pytest.raises(NotProved):
        await rule(desk, office.founder, ToolClass.EGRESS, "founder")
    async with desk.scope(office.founder) as scope:
        assert await approval_store.change_class_rule(scope, "egress", [], second_person=False) == "unproved"
    assert "approval_rule.changed" not in desk.audited(office.founder)
    await rule(desk, office.colleague, ToolClass.EGRESS, "founder")
    await rule(desk, office.colleague, ToolClass.EGRESS, "founder")
    assert desk.audited(office.founder).count("approval_rule.changed") == 1


async def test_founders_always_decide_and_no_rule_widens_what_a_role_may(desk: Desk, office: Office) -> None:
    await rule(desk, office.founder, ToolClass.EGRESS)
    async with desk.scope(office.founder) as scope:
        rules = {each.tool_class: each for each in await deciders.list_rules(scope)}
    assert rules[ToolClass.EGRESS].roles == ("founder",)
    with pytest.raises(InvalidInput):
        await rule(desk, office.founder, ToolClass.WRITE_SHARED, "founder", "investor")
    with pytest.raises(psycopg.errors.CheckViolation):
        desk.rows(
            "UPDATE agents.approval_rules SET roles = '{advisor}' WHERE company_id = %s", office.founder.company_id
        )
    desk.rows(
        "UPDATE agents.approval_rules SET roles = '{founder,investor}' WHERE company_id = %s", office.founder.company_id
    )
    run = await desk.waiting(office.founder, private=False)
    of_class(desk, run, "egress")
    assert await by_sql(desk, office.investor, run) == set()


# ── From the yes to its use ────────────────────────────────────────────────────────────────────────────

Change = Callable[[Desk, Office], Any]
SESSIONS: LiteralString = "UPDATE identity.sessions SET ended_at = now(), ended_reason = %s WHERE person_id = %s"


async def _removed(desk: Desk, office: Office) -> None:
    async with desk.scope(office.founder) as scope:
        await remove_member(scope, PersonId(office.advisor.person_id))


async def _removed_and_back(desk: Desk, office: Office) -> None:
    await _removed(desk, office)
    desk.rows(
        "UPDATE tenancy.memberships SET ended_at = NULL, created_at = now() WHERE company_id = %s AND person_id = %s",
        office.advisor.company_id,
        office.advisor.person_id,
    )


async def _lowered(desk: Desk, office: Office) -> None:
    desk.change_role(office.advisor, "investor")


async def _rule_changed(desk: Desk, office: Office) -> None:
    asked = desk.rows("SELECT tool_class FROM agents.approvals WHERE company_id = %s", office.founder.company_id)
    await rule(desk, office.founder, ToolClass(asked[0]["tool_class"]), "founder")


async def _disabled(desk: Desk, office: Office) -> None:
    desk.rows("UPDATE identity.people SET disabled_at = now() WHERE id = %s", office.advisor.person_id)


async def _password_changed(desk: Desk, office: Office) -> None:
    desk.rows(SESSIONS, "the password changed", office.advisor.person_id)


async def _signed_out_then_password_changed(desk: Desk, office: Office) -> None:
    desk.rows(SESSIONS, "signed out", office.advisor.person_id)
    desk.rows(
        "INSERT INTO identity.passwords (person_id, scheme, pepper_version, hash, changed_at)"
        " VALUES (%s, 'test', 1, 'x', clock_timestamp())",
        office.advisor.person_id,
    )


async def _token_reused(desk: Desk, office: Office) -> None:
    desk.rows(SESSIONS, "its refresh token was used twice", office.advisor.person_id)


async def _ended_from_the_list(desk: Desk, office: Office) -> None:
    desk.rows(SESSIONS, "ended by its owner", office.advisor.person_id)


VOID: list[Change] = [
    _removed, _removed_and_back, _lowered, _rule_changed, _disabled, _password_changed,
    _signed_out_then_password_changed, _token_reused, _ended_from_the_list,
]  # fmt: skip
named = pytest.mark.parametrize("change", VOID, ids=lambda change: change.__name__.strip("_"))


@named
async def test_a_yes_of_somebody_who_may_no_longer_give_it_is_not_used(
    desk: Desk, office: Office, change: Change
) -> None:
    run = await desk.waiting(office.founder, private=False)
    await decide(desk, office.advisor, run)
    await change(desk, office)
    await desk.work(run)
    assert desk.outcomes(run) == [
        ("denied", "The approval came from somebody who may no longer give it. Ask for it again.")
    ]
    assert desk.question(run)["consumed_at"] is None
    assert desk.file_versions(office.founder) == []


@named
async def test_nor_does_a_grant_of_theirs_hold(desk: Desk, office: Office, change: Change) -> None:
    run = await desk.waiting(office.founder, private=False)
    await decide(desk, office.advisor, run, "conversation")
    await desk.work(run)
    assert desk.status(run) == "finished"
    await change(desk, office)
    conversation = desk.question(run)["conversation_id"]
    again = await desk.say(office.founder, "write the file plan.md with Another text.", conversation=conversation)
    assert desk.status(again.run_id) == "waiting_for_approval"
    async with desk.scope(office.founder) as scope:
        assert await approvals.list_grants(scope) == []


async def test_signing_out_afterwards_takes_nothing_back(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder, private=False)
    await decide(desk, office.advisor, run)
    desk.rows(SESSIONS, "signed out", office.advisor.person_id)
    await desk.work(run)
    assert desk.status(run) == "finished"
    assert len(desk.file_versions(office.founder)) == 1


async def test_a_decision_is_not_dated_back(desk: Desk, office: Office) -> None:
    run = await desk.waiting(office.founder)
    async with desk.scope(office.founder) as scope:
        values = {"id": desk.question(run)["id"], "person": scope.actor.person_id, "session": scope.actor.session_id}
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await scope.execute(
                "UPDATE agents.approvals SET decision = 'once', decided_by = %(person)s, decided_session = %(session)s,"
                " decided_at = now() - interval '1 hour' WHERE id = %(id)s",
                values,
            )
