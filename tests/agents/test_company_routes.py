"""A company allows routes and regions; what it does not allow is asked nothing, and the ledger tells what was asked."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from operalta.agents.routes import RouteRegistry
from operalta.agents.runner import Runner
from operalta.db.elevated import Purpose, open_elevated
from operalta.db.scope import Scope
from operalta.jobs import store as jobs_store
from tests.agents.conftest import Deaths, Desk, Office, WorkerDied, allow, prove
from tests.agents.test_model_routes import APPROVAL, CHAT_ANSWER, CHAT_CALL, KEY, Provider, routes_in, written
from tests.conftest import Member, Pools
from tests.sandbox.staging import LoopbackServer, answer

SEEN = "a" * 64
LEDGER: LiteralString = """SELECT route, provider, host, region, model, outcome, reason, input_tokens, output_tokens,
    cost_micros, ended_at IS NOT NULL AS ended FROM agents.model_requests WHERE run_id = %s ORDER BY asked_at"""


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.setenv("OPERALTA_MODEL_KEY_TEST", KEY)


@pytest.fixture
async def provider() -> AsyncGenerator[Provider]:
    staged = Provider()
    server = await asyncio.start_server(staged.serve, "127.0.0.1", 0)
    staged.port = server.sockets[0].getsockname()[1]
    yield staged
    server.close()


async def asked(scope: Scope, query: LiteralString, *values: object) -> str:
    cursor = await scope.connection.execute(query, values)
    row = await cursor.fetchone()
    assert row is not None
    return next(iter(row.values()))


async def allow_in_database(scope: Scope, slugs: list[str], regions: list[str]) -> str:
    query: LiteralString = "SELECT agents.allow_routes(%s::text[], %s::text[], %s::text[])"
    return await asked(scope, query, slugs, [SEEN] * len(slugs), regions)


async def choose(desk: Desk, member: Member, agent: UUID, slug: str) -> str:
    async with desk.scope(member) as scope:
        return await asked(scope, "SELECT agents.choose_route(%s, %s)", agent, slug)


async def work(desk: Desk, member: Member, routes: RouteRegistry, route: str = "far") -> UUID:
    """Let a run ask over a route, whatever the company allows."""
    posted = await desk.write(member, "What is new?")
    desk.rows("UPDATE agents.runs SET route = %s WHERE id = %s", route, posted.run_id)
    desk.rows("DELETE FROM jobs.procrastinate_jobs WHERE args ->> 'subject' = %s", str(posted.run_id))
    await Runner(desk.pools.worker, desk.dispatcher, desk.registry, routes, desk.files).run(posted.run_id)
    return posted.run_id


def ledger(desk: Desk, run: UUID) -> list[dict[str, Any]]:
    return desk.rows(LEDGER, run)


# ── What the database lets a member do ─────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.6.1")
async def test_who_manages_the_company_allows_after_a_proof_and_withdraws_without(desk: Desk, office: Office) -> None:
    prove(desk, office.founder, recently=False)
    async with desk.scope(office.founder) as scope:
        assert await allow_in_database(scope, ["far"], ["EU"]) == "unproved"
        assert await allow_in_database(scope, [], ["EU"]) == "unproved"
    prove(desk, office.founder)
    async with desk.scope(office.founder) as scope:
        assert await allow_in_database(scope, ["far", "near"], ["EU"]) == "changed"
        assert await allow_in_database(scope, ["far", "near"], ["EU"]) == "unchanged"
    prove(desk, office.founder, recently=False)
    async with desk.scope(office.founder) as scope:
        assert await allow_in_database(scope, ["far", "else"], ["EU"]) == "unproved"
        assert await allow_in_database(scope, ["far"], ["EU", "US"]) == "unproved"
        assert await allow_in_database(scope, ["far"], ["EU"]) == "changed"
        assert await allow_in_database(scope, [], []) == "changed"
    events = desk.rows(
        "SELECT detail FROM audit.events WHERE company_id = %s AND action = 'routes.changed' ORDER BY occurred_at",
        office.founder.company_id,
    )
    assert [event["detail"] for event in events] == [
        {"allowed": ["far", "near"], "withdrawn": [], "regions_allowed": ["EU"], "regions_withdrawn": []},
        {"allowed": [], "withdrawn": ["near"], "regions_allowed": [], "regions_withdrawn": []},
        {"allowed": [], "withdrawn": ["far"], "regions_allowed": [], "regions_withdrawn": ["EU"]},
    ]


@pytest.mark.proves("2.5.0", "5.6.1")
async def test_nobody_else_allows_a_route_or_gives_one_to_an_agent(desk: Desk, office: Office) -> None:
    (agent,) = desk.rows("SELECT id FROM agents.agents WHERE company_id = %s", office.founder.company_id)
    for member in (office.advisor, office.investor):
        prove(desk, member)
        async with desk.scope(member) as scope:
            assert await allow_in_database(scope, ["far"], ["EU"]) == "refused"
            assert await asked(scope, "SELECT agents.choose_route(%s, 'built-in')", agent["id"]) == "refused"
    for statement in (
        "INSERT INTO agents.allowed_routes (company_id, slug, record_sha256, allowed_by) VALUES (%s, 'far', %s, %s)",
        "UPDATE agents.agents SET route = 'far' WHERE company_id = %s OR slug = %s OR id = %s",
    ):
        async with desk.scope(office.founder) as scope:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await scope.connection.execute(statement, (scope.company, SEEN, office.founder.person_id))  # pyright: ignore[reportArgumentType] - literal text of this test


@pytest.mark.proves("5.6.1")
async def test_an_agent_gets_a_route_that_the_company_allows_and_no_other(desk: Desk, office: Office) -> None:
    founder = office.founder
    agent, foreign = (
        desk.rows("SELECT id FROM agents.agents WHERE company_id = %s", each.company_id)[0]["id"]
        for each in (founder, office.stranger)
    )
    assert await choose(desk, founder, agent, "far") == "not allowed"
    prove(desk, founder)
    async with desk.scope(founder) as scope:
        await allow_in_database(scope, ["far"], ["EU"])
    assert await choose(desk, founder, agent, "far") == "chosen"
    assert await choose(desk, founder, agent, "near") == "not allowed"
    assert await choose(desk, founder, foreign, "far") == "none"
    routes = "SELECT id, route FROM agents.agents WHERE id = ANY (%s)"
    found = {row["id"]: row["route"] for row in desk.rows(routes, [agent, foreign])}
    assert found == {agent: "far", foreign: "built-in"}
    posted = await desk.write(founder, "Hello")
    assert desk.rows("SELECT route FROM agents.runs WHERE id = %s", posted.run_id) == [{"route": "far"}]
    assert await choose(desk, founder, agent, "built-in") == "chosen"


# ── What a run may ask ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.6.1", "5.6.3")
@pytest.mark.parametrize(
    ("slugs", "regions", "words"),
    [
        ((), ("EU",), "does not allow this model route"),
        (("far",), (), "does not allow the region"),
        (("far",), ("US",), "does not allow the region"),
    ],
    ids=["route", "no region", "other region"],
)
async def test_what_the_company_does_not_allow_is_asked_nothing(
    desk: Desk,
    office: Office,
    tmp_path: Path,
    provider: Provider,
    slugs: tuple[str, ...],
    regions: tuple[str, ...],
    words: str,
) -> None:
    routes = routes_in(tmp_path, written("far", "openai", provider.port))
    allow(desk, office.founder, routes, *slugs, regions=regions)
    run = await work(desk, office.founder, routes)
    assert (desk.status(run), provider.connections) == ("failed", 0)
    assert words in desk.events(run)[-1]["body"]["text"]
    (line,) = ledger(desk, run)
    assert (line["outcome"], line["ended"], words in line["reason"]) == ("refused", True, True)
    assert (line["route"], line["host"], line["region"]) == ("far", f"127.0.0.1:{provider.port}", "EU")


@pytest.mark.proves("5.6.1", "5.6.3")
async def test_a_record_that_the_operator_changed_is_seen_by_the_company_first(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider
) -> None:
    text = written("far", "openai", provider.port)
    allow(desk, office.founder, routes_in(tmp_path, text), "far", regions=("EU", "US"))
    run = await work(desk, office.founder, routes_in(tmp_path, text.replace('"30 days"', '"for ever"')))
    assert (desk.status(run), provider.connections) == ("failed", 0)
    assert "has changed this model route" in desk.events(run)[-1]["body"]["text"]


@pytest.mark.proves("5.6.1", "5.6.3")
async def test_a_fall_back_is_asked_only_where_the_company_allows_it(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider, web_page: LoopbackServer
) -> None:
    provider.turns = [answer(503, b"busy", "Retry-After: 99")]
    web_page.answers = {"/v1/chat/completions": CHAT_ANSWER}
    far = written("far", "openai", provider.port, 'fall_back = "other"')
    us = APPROVAL.replace('"EU"', '"US"')
    routes = routes_in(tmp_path, far + written("other", "compatible", web_page.port, approval=us))
    for slugs, regions, outcomes in (
        (("far",), ("EU", "US"), ["failed", "refused"]),
        (("far", "other"), ("EU",), ["failed", "refused"]),
        (("far", "other"), ("EU", "US"), ["failed", "answered"]),
    ):
        allow(desk, office.founder, routes, *slugs, regions=regions)
        run = await work(desk, office.founder, routes)
        assert [(line["route"], line["outcome"]) for line in ledger(desk, run)] == [
            ("far", outcomes[0]), ("other", outcomes[1])]  # fmt: skip
        assert web_page.connections == (outcomes[1] == "answered")


@pytest.mark.proves("5.6.1")
async def test_a_route_that_is_withdrawn_meanwhile_is_not_asked_again(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider
) -> None:
    async def withdrawn_while_it_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        desk.rows("DELETE FROM agents.allowed_routes WHERE company_id = %s", office.founder.company_id)
        await provider.serve(reader, writer)

    provider.turns = [CHAT_CALL, CHAT_ANSWER]
    server = await asyncio.start_server(withdrawn_while_it_answers, "127.0.0.1", 0)
    routes = routes_in(tmp_path, written("far", "openai", server.sockets[0].getsockname()[1]))
    allow(desk, office.founder, routes, "far")
    run = await work(desk, office.founder, routes)
    server.close()
    assert (desk.status(run), provider.connections) == ("failed", 1)
    assert [line["outcome"] for line in ledger(desk, run)] == ["answered", "refused"]


# ── The ledger ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.6.3", "5.6.4")
async def test_the_ledger_tells_what_was_asked_where_and_nothing_of_what_was_said(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider
) -> None:
    provider.turns = [CHAT_ANSWER]
    routes = routes_in(tmp_path, written("far", "openai", provider.port))
    allow(desk, office.founder, routes, "far")
    run = await work(desk, office.founder, routes)
    assert ledger(desk, run) == [
        {"route": "far", "provider": "openai", "host": f"127.0.0.1:{provider.port}", "region": "EU", "model": "far-1",
         "outcome": "answered", "reason": None, "input_tokens": 200, "output_tokens": 20, "cost_micros": 600,
         "ended": True}]  # fmt: skip
    provider.turns = [answer(401, b"Heliotrope is not for you")]
    failed = await work(desk, office.founder, routes)
    (line,) = ledger(desk, failed)
    assert (line["outcome"], line["input_tokens"]) == ("failed", None), "what nobody counted is told as no count"
    whole = desk.rows(
        "SELECT line::text AS text FROM agents.model_requests AS line WHERE run_id = ANY (%s)", [run, failed]
    )
    assert all("Heliotrope" not in row["text"] and "What is new" not in row["text"] for row in whole)
    here = await work(desk, office.founder, routes, "built-in")
    assert [(line["outcome"], line["provider"]) for line in ledger(desk, here)] == [("refused", None)]


@pytest.mark.proves("5.6.3")
async def test_the_ledger_has_the_requests_of_the_built_in_route_too(desk: Desk, office: Office) -> None:
    posted = await desk.say(office.founder, "/find prices")
    lines = ledger(desk, posted.run_id)
    assert {(line["outcome"], line["host"], line["region"]) for line in lines} == {
        ("answered", None, "This deployment")}  # fmt: skip


@pytest.mark.proves("5.6.3")
async def test_what_a_dead_worker_asked_is_in_the_ledger_as_lost(
    desk: Desk, office: Office, tmp_path: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.turns = [CHAT_ANSWER]
    routes = routes_in(tmp_path, written("far", "openai", provider.port))
    allow(desk, office.founder, routes, "far")
    # The third transaction is the one that writes down what is asked.
    deaths = Deaths(3, committed=True)
    with deaths.planned(monkeypatch), pytest.raises(WorkerDied):
        await work(desk, office.founder, routes)
    (run,) = desk.rows("SELECT id FROM agents.runs WHERE company_id = %s", office.founder.company_id)
    assert [line["outcome"] for line in ledger(desk, run["id"])] == ["asked"]
    desk.lapse(run["id"])
    await Runner(desk.pools.worker, desk.dispatcher, desk.registry, routes, desk.files).run(run["id"])
    assert [line["outcome"] for line in ledger(desk, run["id"])] == ["lost", "answered"]


@pytest.mark.proves("5.6.3")
async def test_only_who_may_read_the_audit_log_reads_the_ledger_and_a_line_stays(desk: Desk, office: Office) -> None:
    await desk.say(office.founder, "/find prices")
    seen: dict[str, int] = {}
    for name in ("founder", "advisor", "investor", "stranger"):
        async with desk.scope(getattr(office, name)) as scope:
            seen[name] = len(await scope.all("SELECT id FROM agents.model_requests"))
    assert seen.pop("founder") >= 1
    assert set(seen.values()) == {0}
    for statement in (
        "UPDATE agents.model_requests SET outcome = 'refused'", "DELETE FROM agents.model_requests",
    ):  # fmt: skip
        async with desk.scope(office.founder) as scope:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await scope.connection.execute(statement)  # pyright: ignore[reportArgumentType] - literal text


@pytest.mark.proves("5.6.3")
async def test_lines_are_forgotten_after_four_hundred_days(desk: Desk, office: Office, pools: Pools) -> None:
    posted = await desk.say(office.founder, "/find prices")
    desk.rows(
        "UPDATE agents.model_requests SET asked_at = now() - interval '399 days' WHERE run_id = %s", posted.run_id
    )
    async with open_elevated(pools.job, Purpose.FORGET_EXPIRED) as elevated:
        await jobs_store.forget_model_requests(elevated.connection)
    assert ledger(desk, posted.run_id)
    desk.rows(
        "UPDATE agents.model_requests SET asked_at = now() - interval '401 days' WHERE run_id = %s", posted.run_id
    )
    async with open_elevated(pools.job, Purpose.FORGET_EXPIRED) as elevated:
        await jobs_store.forget_model_requests(elevated.connection)
    assert ledger(desk, posted.run_id) == []
