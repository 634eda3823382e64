"""Agents as companies define them: made, changed, retired, brought back; no version is ever lost."""

import asyncio
from dataclasses import replace
from uuid import UUID

import psycopg
import pytest

from operalta.agents.definitions import service
from operalta.agents.definitions.rules import Agent, Definition, slug_of
from operalta.agents.errors import LastAgent
from operalta.identity.errors import NotProved
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound
from tests.agents.conftest import Desk, Office, Turn, calling, prove, scripted
from tests.conftest import Member

HELPER = Definition("Investor relations", "Drafts the letter to investors.", "Be brief.", {}, (), {})


async def made(desk: Desk, member: Member, definition: Definition = HELPER) -> Agent:
    prove(desk, member)
    async with desk.scope(member) as scope:
        return await service.make_agent(scope, definition)


async def change(desk: Desk, member: Member, agent: UUID, **changes: object) -> None:
    async with desk.scope(member) as scope:
        await service.change_agent(scope, agent, **changes)  # pyright: ignore[reportArgumentType]


async def test_an_agent_is_made_changed_and_brought_back_to_an_earlier_version(desk: Desk, office: Office) -> None:
    agent = await made(
        desk, office.founder, replace(HELPER, tools={"memory_search": "allow"}, directories=("reports",))
    )
    assert (agent.slug, agent.version, agent.route) == ("investor-relations", 1, "built-in")
    await change(desk, office.founder, agent.id, instructions="Be long.", limits={"steps": 3})
    await change(desk, office.founder, agent.id, instructions="Be long.")
    await change(desk, office.founder, agent.id, tools={"memory_search": "deny"}, directories=())
    async with desk.scope(office.founder) as scope:
        await service.restore_version(scope, agent.id, 1)
        found, _ = await service.get_agent(scope, agent.id)
        kept = await service.list_versions(scope, agent.id)
    assert found.definition == agent.definition
    assert [(one.version, one.instructions, dict(one.limits)) for one in kept] == [
        (4, "Be brief.", {}),
        (3, "Be long.", {"steps": 3}),
        (2, "Be long.", {"steps": 3}),
        (1, "Be brief.", {}),
    ], "a change that changes nothing leaves no version"
    assert len({one.changed_by_name for one in kept} - {None}) == 1


async def test_the_first_agents_have_their_first_version(desk: Desk, office: Office) -> None:
    async with desk.scope(office.founder) as scope:
        for agent in await service.list_agents(scope):
            kept = await service.list_versions(scope, agent.id)
            assert [(one.version, one.changed_by_name) for one in kept] == [(1, None)]


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("name", replace(HELPER, name="  ")),
        ("name", replace(HELPER, name="two\nlines")),
        ("purpose", replace(HELPER, purpose="x" * 401)),
        ("instructions", replace(HELPER, instructions="x" * 8_001)),
        ("tools", replace(HELPER, tools={"memory_search": "always"})),
        ("directories", replace(HELPER, directories=("../other",))),
        ("limits", replace(HELPER, limits={"luck": 1})),
        ("limits.steps", replace(HELPER, limits={"steps": 0})),
        ("limits.tokens", replace(HELPER, limits={"tokens": 10**9})),
    ],
)
def test_what_cannot_be_an_agent_is_refused_by_its_field(field: str, changed: Definition) -> None:
    with pytest.raises(InvalidInput) as refused:
        changed.checked()
    assert refused.value.field == field


def test_short_names_are_plain_and_differ() -> None:
    assert slug_of("Chief of Staff", frozenset()) == "chief-of-staff"
    assert slug_of("Chief of Staff", frozenset({"chief-of-staff", "chief-of-staff-2"})) == "chief-of-staff-3"
    assert slug_of("日本", frozenset()) == "agent"
    assert len(slug_of("x" * 120, frozenset({"x" * 40}))) <= 48


async def test_granting_tools_asks_for_a_proof_and_the_rest_does_not(desk: Desk, office: Office) -> None:
    agent = await made(desk, office.founder)
    prove(desk, office.founder, recently=False)
    async with desk.scope(office.founder) as scope:
        await service.make_agent(scope, replace(HELPER, name="Without tools"))
        await service.change_agent(scope, agent.id, purpose="Another one.")
    for definition in (replace(HELPER, tools={"web_fetch": "ask"}),):
        async with desk.scope(office.founder) as scope:
            with pytest.raises(NotProved):
                await service.make_agent(scope, definition)
    async with desk.scope(office.founder) as scope:
        with pytest.raises(NotProved):
            await service.change_agent(scope, agent.id, tools={"shell_run": "ask"})


@pytest.mark.proves("2.5.3")
async def test_only_who_may_manage_agents_makes_or_retires_them(desk: Desk, office: Office) -> None:
    agent = await made(desk, office.founder)
    for member in (office.advisor, office.investor):
        async with desk.scope(member) as scope:
            with pytest.raises(NotAllowed):
                await service.make_agent(scope, HELPER)
            with pytest.raises(NotAllowed):
                await service.retire_agent(scope, agent.id)
            assert (await scope.one("SELECT agents.retire_agent(%(agent)s, true) AS said", {"agent": agent.id})) == {
                "said": "refused"
            }
        async with desk.scope(member) as scope:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await scope.execute(
                    "INSERT INTO agents.agents (company_id, id, slug, name, purpose, instructions)"
                    " VALUES (%(company)s, gen_random_uuid(), 'own', 'Own', 'Own', '')",
                    {"company": scope.company},
                )
    async with desk.scope(office.stranger) as scope:
        with pytest.raises(NotFound):
            await service.retire_agent(scope, agent.id)


@pytest.mark.proves("5.0.1")
async def test_a_retired_agent_stops_and_takes_no_more_work(desk: Desk, office: Office) -> None:
    second = await made(desk, office.founder)
    async with desk.scope(office.founder) as scope:
        first = (await service.list_agents(scope))[0]
    waits = await desk.waiting(office.founder)
    async with desk.scope(office.founder) as scope:
        await service.retire_agent(scope, first.id)
    await desk.work(waits)
    assert desk.status(waits) == "stopped"
    posted = await desk.write(office.founder, "/help")
    used = desk.rows("SELECT agent_id FROM agents.runs WHERE id = %s", posted.run_id)[0]["agent_id"]
    assert used != first.id
    async with desk.scope(office.founder) as scope:
        with pytest.raises(LastAgent):
            await service.retire_agent(scope, second.id)
        await service.bring_back_agent(scope, first.id)
        assert (await service.get_agent(scope, first.id))[0].retired_at is None


async def test_of_the_last_two_agents_only_one_can_be_retired_at_once(desk: Desk, office: Office) -> None:
    second = await made(desk, office.founder)
    async with desk.scope(office.founder) as scope:
        first = (await service.list_agents(scope))[0]

    async def retire(agent: Agent) -> bool:
        try:
            async with desk.scope(office.founder) as scope:
                await service.retire_agent(scope, agent.id)
                await asyncio.sleep(0.1)
        except LastAgent:
            return False
        return True

    assert sorted(await asyncio.gather(retire(first), retire(second))) == [False, True]


@pytest.mark.proves("5.5.2")
async def test_a_tool_that_is_taken_away_is_denied_at_the_runs_next_step(desk: Desk, office: Office) -> None:
    async def script(number: int) -> Turn:
        if number == 1:
            async with desk.scope(office.founder) as scope:
                agent = (await service.list_agents(scope))[0]
            desk.rows("UPDATE agents.agents SET tools = '{}' WHERE id = %s", agent.id)
        return [("memory_search", {"query": "prices"})] if number < 2 else "Done."

    desk.model = scripted(script)
    posted = await desk.say(office.founder, "What about prices?")
    assert [outcome for outcome, _ in desk.outcomes(posted.run_id)] == ["success", "denied"]


async def test_an_agent_may_hold_its_runs_to_less(desk: Desk, office: Office) -> None:
    desk.model = calling(("memory_search", {"query": "prices"}), ("files_list", {}))
    async with desk.scope(office.founder) as scope:
        agent = (await service.list_agents(scope))[0]
        await service.change_agent(scope, agent.id, limits={"tool_calls": 1})
    posted = await desk.say(office.founder, "What about prices?")
    assert desk.status(posted.run_id) == "failed"
    assert "limit of tool calls" in desk.events(posted.run_id)[-1]["body"]["text"]


async def test_versions_cannot_be_written_changed_or_removed(desk: Desk, office: Office) -> None:
    for statement in (
        "UPDATE agents.agent_versions SET instructions = 'Otherwise.'",
        "DELETE FROM agents.agent_versions",
        "INSERT INTO agents.agent_versions SELECT * FROM agents.agent_versions",
    ):
        async with desk.scope(office.founder) as scope:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await scope.execute(statement, {})
