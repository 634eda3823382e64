"""Webhooks that go out, to a receiver on the loopback: what is told, to whom, how often, and when it stops."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import LiteralString
from uuid import UUID, uuid4

import pytest

from operalta.identity.errors import NotProved
from operalta.kernel.errors import InvalidInput, NotAllowed, NotFound
from operalta.settings import DatabaseRole
from operalta.vault.webhooks.endpoints import (
    get_endpoint,
    list_deliveries,
    list_endpoints,
    remove,
    replay,
)
from operalta.vault.webhooks.errors import NoSuchDelivery, TooManyWebhooks, WebhookIsOff
from operalta.vault.webhooks.rules import PAUSES_SECONDS, EventKind
from operalta.vault.webhooks.signatures import Scheme, verify
from tests.conftest import Servers, World
from tests.vault.post import Post
from tests.vault.receiver import Received


def is_signed(got: Received, secret: bytes) -> bool:
    at = int(got.headers["webhook-timestamp"])
    return verify(Scheme.STANDARD, [secret], got.headers, got.body, at) is not None


@pytest.mark.proves("5.5.3", "7.2.2")
async def test_an_event_arrives_signed_and_tells_ids_and_no_content(post: Post) -> None:
    endpoint, secret = await post.make()
    decision = await post.decide("A title that stays here")
    assert await post.sender.send_one()
    assert not await post.sender.send_one()
    (got,) = post.receiver.received
    assert is_signed(got, secret)
    (delivery,) = post.deliveries(endpoint)
    assert got.headers["webhook-id"] == f"msg_{delivery['id'].hex}"
    told = json.loads(got.body)
    assert (told["type"], set(told)) == ("memory.recorded", {"type", "timestamp", "data"})
    assert told["data"] == {"company": str(post.member.company_id), "kind": "record", "id": str(decision)}
    assert delivery["status"] == "delivered"
    lines = post.box.rows("SELECT * FROM sandbox.egress_log WHERE company_id = %s", post.member.company_id)
    assert [line["destination"] for line in lines] == [f"http://{post.receiver.exemption}"]


@pytest.mark.proves("5.5.3")
async def test_it_is_off_when_made_and_off_takes_effect_at_the_next_call(post: Post) -> None:
    endpoint, _ = await post.make(on=False)
    await post.decide()
    assert post.deliveries(endpoint) == []
    await post.switch(endpoint, on=True)
    await post.decide()
    await post.decide()
    assert await post.sender.send_one()
    await post.switch(endpoint, on=False)
    assert not await post.sender.send_one()
    await post.switch(endpoint, on=True)
    assert not await post.sender.send_one()
    assert len(post.receiver.received) == 1
    assert sorted(each["status"] for each in post.deliveries(endpoint)) == ["dead", "delivered"]


@pytest.mark.proves("5.5.3")
async def test_other_kinds_and_other_companies_are_not_told(post: Post, world: World) -> None:
    endpoint, _ = await post.make(EventKind.FILE_WRITTEN)
    await post.decide()
    stranger = world.member(world.company())
    await post.as_member(stranger).decide()
    assert post.deliveries(endpoint) == []


async def test_an_event_that_is_undone_is_not_told(post: Post) -> None:
    endpoint, _ = await post.make()
    with pytest.raises(RuntimeError):
        await undone(post)
    assert post.deliveries(endpoint) == []


async def undone(post: Post) -> None:
    from operalta.workspace.memory.service import record

    async with post.open() as scope:
        await record(scope, "decision", "Not after all")
        raise RuntimeError


PRIVATE: LiteralString = """
WITH talk AS (INSERT INTO workspace.conversations (company_id, id, title, created_by, private_to)
        VALUES (%(company)s, gen_random_uuid(), 'x', %(person)s, %(private)s) RETURNING id),
    said AS (INSERT INTO workspace.messages (company_id, id, conversation_id, private_to, author_kind, person_id, body)
        SELECT %(company)s, gen_random_uuid(), id, %(private)s, 'person', %(person)s, 'x' FROM talk
        RETURNING id, conversation_id)
INSERT INTO agents.runs (company_id, id, conversation_id, message_id, agent_id, person_id, session_id, private_to,
        route, status)
    SELECT %(company)s, gen_random_uuid(), conversation_id, said.id, agent.id, %(person)s,
        (SELECT id FROM identity.sessions WHERE person_id = %(person)s LIMIT 1), %(private)s, 'built-in', 'failed'
    FROM said, agents.agents AS agent WHERE agent.company_id = %(company)s LIMIT 1 RETURNING id
"""
QUESTION: LiteralString = """
INSERT INTO agents.approvals (company_id, id, run_id, conversation_id, private_to, agent_id, requester_id, call_id,
        tool, tool_class, tool_hash, arguments, arguments_sha256, argument_shape, expires_at)
    SELECT company_id, gen_random_uuid(), id, conversation_id, private_to, agent_id, person_id, 'x', 'x', 'write',
        repeat('0', 64), '{}', repeat('0', 64), 'x', now()
    FROM agents.runs WHERE id = %s RETURNING id
"""
HAPPENED: LiteralString = """
INSERT INTO audit.events (company_id, actor_kind, action, target_kind, target_id, outcome)
    VALUES (%s, 'run', %s, 'run', %s, 'succeeded')
"""


@pytest.mark.proves("5.5.3")
async def test_private_conversations_are_nobody_elses_to_hear_of(post: Post) -> None:
    ends = (EventKind.RUN_FINISHED, EventKind.RUN_FAILED, EventKind.RUN_STOPPED)
    endpoint, _ = await post.make(*ends, EventKind.APPROVAL_ASKED)
    member = post.member
    told: dict[bool, list[UUID]] = {}
    with post.box.servers.as_owner() as owner:

        def made(query: LiteralString, facts: object) -> UUID:
            row = owner.execute(query, facts).fetchone()  # pyright: ignore[reportArgumentType] - whatever it takes
            assert row is not None
            return row["id"]

        for is_private in (True, False):
            facts = {"company": member.company_id, "person": member.person_id}
            run = made(PRIVATE, facts | {"private": member.person_id if is_private else None})
            question = made(QUESTION, (run,))
            told[is_private] = [*[run] * len(ends), question]
            for kind, subject in zip((*ends, EventKind.APPROVAL_ASKED), told[is_private], strict=True):
                owner.execute(HAPPENED, (member.company_id, kind.value, str(subject)))
        owner.execute(HAPPENED, (member.company_id, EventKind.RUN_FINISHED.value, str(uuid4())))  # of nobody knows what
    assert [each["subject_id"] for each in post.deliveries(endpoint)] == told[False]


async def test_a_failure_is_tried_again_under_the_same_id_until_it_is_given_up_and_replayed(post: Post) -> None:
    endpoint, secret = await post.make()
    await post.decide()
    post.receiver.status = 500
    for _ in range(len(PAUSES_SECONDS) + 1):
        assert await post.sender.send_one()
        assert not await post.sender.send_one()  # not before its time
        post.let_pass(endpoint)
    (delivery,) = post.deliveries(endpoint)
    assert (delivery["status"], delivery["last_status"]) == ("dead", 500)
    async with post.open() as scope:
        found = await get_endpoint(scope, endpoint)
        assert (found.state, found.dead) == ("failing", 1)
        assert "(500)" in found.says
        assert await replay(scope, endpoint, delivery["id"]) == 1
    post.receiver.status = 200
    assert await post.sender.send_one()
    assert {got.headers["webhook-id"] for got in post.receiver.received} == {f"msg_{delivery['id'].hex}"}
    assert len({got.body for got in post.receiver.received}) == 1
    assert all(is_signed(got, secret) for got in post.receiver.received)
    async with post.open() as scope:
        assert (await get_endpoint(scope, endpoint)).state == "on"
        assert [each.status for each in await list_deliveries(scope, endpoint)] == ["delivered"]
        with pytest.raises(NoSuchDelivery):
            await replay(scope, endpoint)


async def test_who_says_that_it_is_gone_hears_no_more(post: Post) -> None:
    endpoint, _ = await post.make()
    await post.decide()
    await post.decide()
    post.receiver.status = 410
    assert await post.sender.send_one()
    assert not await post.sender.send_one()
    row = post.row(endpoint)
    assert (row["is_on"], row["off_because"]) == (False, "gone")
    async with post.open() as scope:
        with pytest.raises(WebhookIsOff):
            await replay(scope, endpoint)


async def test_what_has_failed_for_three_days_is_switched_off(post: Post) -> None:
    endpoint, _ = await post.make()
    await post.decide()
    post.receiver.status = 503
    assert await post.sender.send_one()
    post.let_pass(endpoint)
    assert post.row(endpoint)["is_on"]
    query = "UPDATE credentials.webhook_endpoints SET failing_since = now() - interval '73 hours' WHERE id = %s"
    post.box.change(query, endpoint)
    assert await post.sender.send_one()
    assert post.row(endpoint)["off_because"] == "failing"
    async with post.open() as scope:
        (found,) = await list_endpoints(scope)
        assert "three days" in found.says


async def test_no_redirect_is_followed_and_no_answer_is_read(post: Post) -> None:
    endpoint, _ = await post.make()
    await post.decide()
    post.receiver.status, post.receiver.answer_headers = (
        307,
        {"Location": f"http://{post.receiver.exemption}/elsewhere"},
    )
    assert await post.sender.send_one()
    assert len(post.receiver.received) == 1
    assert "redirect" in post.deliveries(endpoint)[0]["failure"]
    post.let_pass(endpoint)
    post.receiver.status, post.receiver.answer_headers = 200, {"Content-Type": "nothing/known"}
    post.receiver.answer_body = b"x" * 1_000_000
    assert await post.sender.send_one()
    assert post.deliveries(endpoint)[0]["status"] == "delivered"


async def test_a_receiver_that_asks_for_patience_gets_it(post: Post) -> None:
    endpoint, _ = await post.make()
    await post.decide()
    post.receiver.status, post.receiver.answer_headers = 429, {"Retry-After": "7200"}
    assert await post.sender.send_one()
    (row,) = post.box.rows(
        "SELECT next_at > now() + interval '110 minutes' AS waits FROM credentials.webhook_deliveries"
        " WHERE endpoint_id = %s",
        endpoint,
    )
    assert row["waits"]


@pytest.mark.proves("1.3.4")
async def test_after_a_rotation_both_secrets_sign_until_the_overlap_is_over(post: Post) -> None:
    endpoint, old = await post.make()
    async with post.open() as scope:
        new = (await post.endpoints.rotate(scope, endpoint, 24)).secret.encode()
    await post.decide()
    assert await post.sender.send_one()
    assert [is_signed(post.receiver.received[-1], secret) for secret in (old, new)] == [True, True]
    query = "UPDATE credentials.webhook_endpoints SET previous_until = now() - interval '1 second' WHERE id = %s"
    post.box.change(query, endpoint)
    await post.decide()
    assert await post.sender.send_one()
    assert [is_signed(post.receiver.received[-1], secret) for secret in (old, new)] == [False, True]
    kept = "SELECT 1 FROM credentials.secrets WHERE belongs_to = %s"
    assert len(post.box.rows(kept, endpoint)) == 2
    post.box.change("SET ROLE operalta_definer; SELECT elevated.forget_webhooks()")
    assert len(post.box.rows(kept, endpoint)) == 1
    async with post.open() as scope:
        await post.endpoints.rotate(scope, endpoint, 0)
    assert len(post.box.rows(kept, endpoint)) == 1
    await post.decide()
    assert await post.sender.send_one()
    assert not is_signed(post.receiver.received[-1], new)


@pytest.mark.proves("1.3.4")
async def test_a_removed_webhook_leaves_neither_secret_nor_delivery(post: Post) -> None:
    endpoint, _ = await post.make()
    await post.decide()
    async with post.open() as scope:
        await remove(scope, endpoint)
    assert not await post.sender.send_one()
    assert post.box.rows("SELECT 1 FROM credentials.secrets WHERE belongs_to = %s", endpoint) == []
    assert post.deliveries(endpoint) == []


@pytest.mark.proves("1.3.1")
async def test_only_people_who_may_and_have_proved_it_make_and_change_them(
    post: Post, world: World, company: tuple[UUID, str]
) -> None:
    endpoint, _ = await post.make()
    advisor = post.as_member(world.member(company, "advisor"))
    advisor.prove()
    async with advisor.open() as scope:
        assert len(await list_endpoints(scope)) == 1
        with pytest.raises(NotAllowed):
            await remove(scope, endpoint)
    with pytest.raises(NotAllowed):
        await advisor.make()
    with pytest.raises(NotAllowed):
        await advisor.switch(endpoint, on=False)
    unproved = post.as_member(world.member(company))
    unproved.prove(minutes_ago=11)
    with pytest.raises(NotProved):
        await unproved.make()
    stranger = post.as_member(world.member(world.company()))
    with pytest.raises(NotFound):
        await stranger.switch(endpoint, on=False)
    assert post.row(endpoint)["is_on"]


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "https://localhost/hook",
        "https://10.0.0.1/hook",
        "https://169.254.169.254/latest",
        "https://somebody:secret@example.com/hook",
        "https://example.com:8443/hook",
        "ftp://example.com/hook",
        "hook",
    ],
)
async def test_addresses_are_judged_by_the_rules_of_the_way_out(post: Post, url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await post.endpoints.make(post.open, "Ledger", url, [EventKind.FILE_WRITTEN])
    assert refused.value.field == "url"
    assert post.box.rows("SELECT 1 FROM credentials.webhook_endpoints") == []


async def test_an_address_is_judged_again_when_something_is_sent(post: Post) -> None:
    endpoint, _ = await post.make()
    post.box.change("UPDATE credentials.webhook_endpoints SET url = 'https://127.0.0.1/x' WHERE id = %s", endpoint)
    await post.decide()
    assert await post.sender.send_one()
    (delivery,) = post.deliveries(endpoint)
    assert delivery["status"] == "waiting"
    assert "Nothing was sent" in delivery["failure"]


async def test_there_are_twenty_at_most(post: Post) -> None:
    for _ in range(20):
        await post.make(on=False)
    with pytest.raises(TooManyWebhooks):
        await post.make(on=False)
    assert len(post.box.rows("SELECT 1 FROM credentials.secrets WHERE company_id = %s", post.member.company_id)) == 20


@pytest.mark.proves("5.5.3")
async def test_a_killed_worker_takes_nothing_along(post: Post, tmp_path: Path) -> None:
    endpoint, secret = await post.make()
    await post.decide()
    post.receiver.gate.clear()
    orders = {
        "dsn": post.box.servers.settings.database_dsn(DatabaseRole.JOB),
        "keys": str(tmp_path / "company-keys"),
        "root": post.box.root_text,
        "exemption": post.receiver.exemption,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.vault.webhook_worker", stdin=asyncio.subprocess.PIPE, env={**os.environ}
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(orders).encode())
    process.stdin.close()
    assert await asyncio.to_thread(post.receiver.arrived.wait, 60)
    process.send_signal(signal.SIGKILL)
    await process.wait()
    post.receiver.gate.set()
    assert not await post.sender.send_one()  # the claim of the dead one holds for a while
    post.let_pass(endpoint)
    assert await post.sender.send_one()
    first, second = post.receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert is_signed(second, secret)
    assert post.deliveries(endpoint)[0]["status"] == "delivered"


@pytest.mark.proves("1.3.2")
async def test_the_database_gives_neither_address_nor_sealed_bytes_to_those_who_look(post: Post) -> None:
    await post.make()
    for query in ("SELECT url FROM credentials.webhook_endpoints", "SELECT sealed FROM credentials.secrets"):
        async with post.open() as scope:
            with pytest.raises(Exception, match="permission denied"):
                await scope.all(query)  # pyright: ignore[reportArgumentType] - one of two literals


async def test_the_database_knows_the_same_kinds_of_events(servers: Servers) -> None:
    with servers.as_owner() as owner:
        texts = owner.execute(
            "SELECT pg_get_constraintdef(oid) AS says FROM pg_constraint WHERE conname = 'webhook_events_known'"
            " UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'deliver_event'"
        ).fetchall()
    assert len(texts) == 2
    for row in texts:
        quoted = {part for part in row["says"].split("'")[1::2] if "." in part}
        assert quoted == {kind.value for kind in EventKind}
