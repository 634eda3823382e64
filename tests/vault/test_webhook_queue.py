"""What waits for a receiver: how much, for how long, whose turn it is, and what is left of it in the egress log."""

import asyncio
from typing import Any, LiteralString
from uuid import UUID, uuid4

import pytest

from operalta.db.elevated import Purpose, open_elevated
from operalta.sandbox.egress import OPEN, EgressDoor, Record
from operalta.sandbox.errors import FetchLimitReached
from operalta.sandbox.metering import Errand
from operalta.vault.kinds import RULES, SecretKind
from operalta.vault.webhooks import store
from operalta.vault.webhooks.endpoints import get_endpoint, remove, replay
from operalta.vault.webhooks.inbound.rules import SEEN_DAYS
from operalta.vault.webhooks.rules import LONGEST_DAYS, LONGEST_OVERLAP_HOURS, MOST_WAITING, PAUSES_SECONDS
from operalta.vault.webhooks.sending import WebhookSender
from operalta.vault.webhooks.signatures import Scheme
from tests.conftest import World
from tests.vault.post import Post

LINE = {"method": "POST", "destination": "https://made.up", "outcome": "204", "purpose": "send a webhook"}
ENDED = {"ended": "delivered", "status": 204, "why": None, "pause": 0}
WAITING: LiteralString = """
INSERT INTO credentials.webhook_deliveries (company_id, endpoint_id, event, subject_kind, occurred_at, next_at)
SELECT company_id, id, 'memory.recorded', 'record', now(), now() - make_interval(mins => %s)
FROM credentials.webhook_endpoints, generate_series(1, %s) WHERE id = %s
"""


def wait_in_line(post: Post, endpoint: UUID, number: int, minutes: int = 1) -> None:
    """Let so many deliveries of an endpoint have been due for so long."""
    post.box.change(WAITING, minutes, number, endpoint)


async def take(post: Post) -> dict[str, Any] | None:
    async with open_elevated(post.pools.job, Purpose.SEND_WEBHOOKS) as elevated:
        return await store.take(elevated.connection)


async def finish(post: Post, taken: dict[str, Any], **changes: object) -> bool:
    async with open_elevated(post.pools.job, Purpose.SEND_WEBHOOKS) as elevated:
        return await store.finish(elevated.connection, taken | changes, ENDED, [LINE])


def egress(post: Post, company: UUID | None = None) -> list[dict[str, Any]]:
    query = "SELECT person_id, destination, outcome FROM sandbox.egress_log WHERE company_id = %s"
    return post.box.rows(query, company or post.member.company_id)


def forget(post: Post) -> None:
    post.box.change("SET ROLE operalta_definer; SELECT elevated.forget_webhooks()")


def events(post: Post, action: str, endpoint: UUID) -> list[dict[str, Any]]:
    query = "SELECT detail FROM audit.events WHERE action = %s AND target_id = %s"
    return post.box.rows(query, action, str(endpoint))


# ── Whose turn it is ───────────────────────────────────────────────────────────────────────────────────


async def test_one_slow_receiver_leaves_room_for_others(post: Post) -> None:
    await post.make()
    for _ in range(3):
        await post.decide()
    post.receiver.gate.clear()
    under_way = [asyncio.create_task(post.sender.send_one()) for _ in range(2)]
    assert await asyncio.to_thread(post.receiver.wait_for, 2)
    assert not await post.sender.send_one()
    post.receiver.gate.set()
    assert await asyncio.gather(*under_way) == [True, True]
    assert await post.sender.send_one()


async def test_companies_with_much_to_send_leave_room_for_others(post: Post, world: World) -> None:
    companies = [post, *(post.as_member(world.member(world.company())) for _ in range(2))]
    for minutes, each in zip((60, 50, 1), companies, strict=True):
        each.prove()
        for _ in range(3):
            endpoint, _ = await each.make()
            wait_in_line(each, endpoint, 10, minutes)
    taken = [await take(post) for _ in range(13)]
    assert taken[12] is None
    ids = [each.member.company_id for each in companies]
    assert [row["company"] for row in taken if row] == ids * 4


async def test_one_endpoint_leaves_room_for_others_of_its_company(post: Post) -> None:
    (busy, _), (quiet, _) = await post.make(), await post.make()
    wait_in_line(post, busy, 10, 60)
    wait_in_line(post, quiet, 10, 1)
    places = "SELECT endpoint_id FROM credentials.webhook_deliveries WHERE id = %s"
    taken = [await take(post) for _ in range(5)]
    assert [post.box.rows(places, row["delivery"])[0]["endpoint_id"] for row in taken if row] == [busy, quiet] * 2
    assert taken[4] is None


async def test_what_somebody_else_is_taking_is_passed_over(post: Post) -> None:
    endpoint, _ = await post.make()
    wait_in_line(post, endpoint, 2)
    async with open_elevated(post.pools.job, Purpose.SEND_WEBHOOKS) as elevated:
        first = await store.take(elevated.connection)
        second = await take(post)
    assert first is not None
    assert second is not None
    assert first["delivery"] != second["delivery"]


# ── How much waits, and for how long ───────────────────────────────────────────────────────────────────


async def test_what_happens_while_a_thousand_wait_is_left_out_and_told(post: Post) -> None:
    endpoint, _ = await post.make()
    wait_in_line(post, endpoint, MOST_WAITING - 1)
    await post.decide()
    assert len(post.deliveries(endpoint)) == MOST_WAITING
    assert events(post, "webhook.dropped", endpoint) == []
    for _ in range(2):
        await post.decide()
    assert len(post.deliveries(endpoint)) == MOST_WAITING
    async with post.open() as scope:
        found = await get_endpoint(scope, endpoint)
    assert (found.waiting, found.dropped, found.dropped_at is not None) == (MOST_WAITING, 2, True)
    assert "At least 2 events were left out" in found.says
    assert len(events(post, "webhook.dropped", endpoint)) == 1
    await post.switch(endpoint, on=False)
    async with post.open() as scope:
        assert (await get_endpoint(scope, endpoint)).dropped == 2
    await post.switch(endpoint, on=True)
    async with post.open() as scope:
        found = await get_endpoint(scope, endpoint)
    assert (found.dropped, found.dropped_at) == (0, None)
    await post.decide()
    assert [each["status"] for each in post.deliveries(endpoint)].count("waiting") == 1


async def test_one_that_is_full_keeps_nothing_from_others(post: Post) -> None:
    (full, _), (other, _) = await post.make(), await post.make()
    wait_in_line(post, full, MOST_WAITING)
    await post.decide()
    assert len(post.deliveries(other)) == 1


async def test_nobody_waits_to_count_what_is_left_out_and_the_first_is_told_all_the_same(post: Post) -> None:
    endpoint, _ = await post.make()
    wait_in_line(post, endpoint, MOST_WAITING)
    with post.box.servers.as_owner() as owner, owner.transaction():
        owner.execute("SELECT 1 FROM credentials.webhook_endpoints WHERE id = %s FOR NO KEY UPDATE", (endpoint,))
        await asyncio.wait_for(post.decide(), 60)
    (left_out,) = [each for each in post.deliveries(endpoint) if each["status"] == "dead"]
    assert "a thousand were waiting" in left_out["failure"]
    assert post.row(endpoint)["dropped"] == 0


class _UsedUp:
    """A company's budget that has nothing left."""

    async def admit_request(self, errand: Errand) -> None:
        raise FetchLimitReached(str(errand))

    async def admit_volume(self, errand: Errand) -> None:
        raise AssertionError(errand)


async def test_what_finds_no_room_in_the_budget_waits_for_days_and_not_for_ever(post: Post) -> None:
    def make_door(keep: Record) -> EgressDoor:
        return EgressDoor(OPEN, (post.receiver.exemption,), keep, meter=_UsedUp())

    sender = WebhookSender(post.pools.job, post.box.opener, make_door)
    endpoint, _ = await post.make()
    await post.decide()
    for _ in range(3):
        assert await sender.send_one()
        post.let_pass(endpoint)
    (delivery,) = post.deliveries(endpoint)
    assert (delivery["status"], delivery["attempts"]) == ("waiting", 0)
    assert post.row(endpoint)["failing_since"] is None
    age = "UPDATE credentials.webhook_deliveries SET created_at = now() - make_interval(hours => %s) WHERE id = %s"
    post.box.change(age, LONGEST_DAYS * 24 - 1, delivery["id"])
    forget(post)
    assert post.deliveries(endpoint)[0]["status"] == "waiting"
    post.box.change(age, LONGEST_DAYS * 24 + 1, delivery["id"])
    assert await take(post) is not None
    forget(post)
    assert post.deliveries(endpoint)[0]["status"] == "waiting"  # somebody is sending it right now
    post.let_pass(endpoint)
    forget(post)
    (delivery,) = post.deliveries(endpoint)
    assert delivery["status"] == "dead"
    assert "four days" in delivery["failure"]
    assert [row["detail"] for row in events(post, "webhook.given_up", endpoint)] == [{"deliveries": 1}]
    async with post.open() as scope:
        assert await replay(scope, endpoint, delivery["id"]) == 1
    forget(post)
    assert post.deliveries(endpoint)[0]["status"] == "waiting"  # it has been waiting anew since then


def test_whatever_is_tried_again_has_been_tried_before_it_is_given_up() -> None:
    longest = sum(max(pause * 1.2, 36_000) for pause in PAUSES_SECONDS)
    assert longest < LONGEST_DAYS * 24 * 3600


async def test_what_trips_us_up_is_tried_again_and_ends(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint, _ = await post.make()
    await post.decide()

    def trip(*_: object) -> float:
        raise RuntimeError

    monkeypatch.setattr("operalta.vault.webhooks.sending.verdict_of_answer", trip)
    for _ in range(len(PAUSES_SECONDS) + 1):
        assert await post.sender.send_one()
        post.let_pass(endpoint)
    (delivery,) = post.deliveries(endpoint)
    assert (delivery["status"], delivery["attempts"]) == ("dead", len(PAUSES_SECONDS) + 1)
    assert "Tell the operator" in delivery["failure"]
    assert len(egress(post)) == len(PAUSES_SECONDS) + 1


# ── What has left the house is in the log ──────────────────────────────────────────────────────────────


@pytest.mark.proves("7.2.2")
@pytest.mark.parametrize("meanwhile", ["removed", "taken anew", "sent again", "off"])
async def test_a_line_is_kept_whatever_became_of_the_delivery(post: Post, meanwhile: str) -> None:
    endpoint, _ = await post.make()
    await post.decide()
    post.receiver.gate.clear()
    under_way = asyncio.create_task(post.sender.send_one())
    assert await asyncio.to_thread(post.receiver.wait_for, 1)
    match meanwhile:
        case "removed":
            async with post.open() as scope:
                await remove(scope, endpoint)
        case "taken anew":
            post.let_pass(endpoint)
            assert await take(post) is not None
        case "sent again":
            await post.switch(endpoint, on=False)
            await post.switch(endpoint, on=True)
            async with post.open() as scope:
                assert await replay(scope, endpoint) == 1
        case _:
            await post.switch(endpoint, on=False)
    post.receiver.gate.set()
    assert await under_way
    assert egress(post) == [
        {"person_id": post.member.person_id, "destination": f"http://{post.receiver.exemption}", "outcome": "204"}
    ]
    assert [each["status"] for each in post.deliveries(endpoint)] == {
        "removed": [], "taken anew": ["waiting"], "sent again": ["waiting"], "off": ["delivered"],
    }[meanwhile]  # fmt: skip


@pytest.mark.proves("2.4.4")
async def test_nobody_writes_a_line_without_a_receipt_for_it(post: Post, world: World) -> None:
    await post.make()
    await post.decide()
    stranger = world.member(world.company())
    taken = await take(post)
    assert taken is not None
    person, _, signature = taken["receipt"].partition(".")
    made_up = [None, "", "x", signature, f"{person}.{'0' * 64}", f"{stranger.person_id}.{signature}"]
    made_up.append("-" * 36 + "." + signature)
    lost = {"claim": uuid4()}
    for receipt in made_up:
        assert not await finish(post, taken, receipt=receipt, **lost)
    for changes in (lost, {"delivery": uuid4()}, {"company": stranger.company_id}, {"company": uuid4()}):
        assert not await finish(post, taken, **changes)
    assert egress(post) == egress(post, stranger.company_id) == []
    # The server may have been started again: then the claim is enough, and nothing else.
    assert await finish(post, taken, receipt="")
    assert [line["person_id"] for line in egress(post)] == [post.member.person_id]
    assert not await finish(post, taken)
    assert len(egress(post)) == 2


async def test_a_line_of_a_company_that_is_gone_is_nobodys(post: Post) -> None:
    await post.make()
    await post.decide()
    taken = await take(post)
    assert taken is not None
    gone = uuid4()
    query = "SELECT credentials.receipt('webhook', %s, %s, %s, %s) AS receipt"
    with post.box.servers.as_owner() as owner, owner.transaction():
        owner.execute("SET LOCAL ROLE operalta_definer")
        values = (gone, taken["delivery"], str(taken["claim"]), post.member.person_id)
        row = owner.execute(query, values).fetchone()
    assert row is not None
    assert not await finish(post, taken, company=gone, receipt=row["receipt"])
    assert egress(post, gone) == []


# ── What came in is known for longer than anybody could sign it ────────────────────────────────────────


@pytest.mark.proves("7.2.2")
async def test_what_came_is_known_for_longer_than_its_secret_is_good_for(post: Post) -> None:
    longest = RULES[SecretKind.INBOUND_WEBHOOK_SECRET].longest_age.days + LONGEST_OVERLAP_HOURS // 24
    assert longest < SEEN_DAYS
    made = await _hook_with_digests(post, [longest, SEEN_DAYS + 1])
    forget(post)
    kept = post.box.rows(
        "SELECT extract(days FROM now() - seen_at)::integer AS days FROM credentials.inbound_seen WHERE hook_id = %s",
        made,
    )
    assert [row["days"] for row in kept] == [longest]


async def _hook_with_digests(post: Post, days: list[int]) -> UUID:
    async with post.open() as scope:
        made = (await post.hooks.make(scope, "Issues", Scheme.GITHUB)).id
    for age in days:
        post.box.change(
            "INSERT INTO credentials.inbound_seen (company_id, hook_id, digest, seen_at)"
            " VALUES (%s, %s, sha256(convert_to(%s, 'UTF8')), now() - make_interval(days => %s))",
            post.member.company_id, made, str(age), age,
        )  # fmt: skip
    return made
