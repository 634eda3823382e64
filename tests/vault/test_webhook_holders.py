"""Who answers for a webhook and who has seen its secret: where one of them leaves, it does not go on."""

from typing import LiteralString
from uuid import UUID

import pytest

from operalta.vault.webhooks.endpoints import get_endpoint, list_endpoints
from operalta.vault.webhooks.errors import RotateFirst
from operalta.vault.webhooks.inbound import hooks
from operalta.vault.webhooks.inbound.hooks import get_hook
from operalta.vault.webhooks.rules import EventKind, OffBecause
from operalta.vault.webhooks.signatures import Scheme
from tests.conftest import World
from tests.vault.post import Post

ENDS = pytest.mark.parametrize("end", ["ended_at = now()", "role = 'advisor'"])


@pytest.fixture
def other(post: Post, world: World, company: tuple[UUID, str]) -> Post:
    """The same room, as another founder, who has proved that it is them."""
    made = post.as_member(world.member(company))
    made.prove()
    return made


def leave(post: Post, end: LiteralString = "ended_at = now()") -> None:
    post.box.change(
        f"UPDATE tenancy.memberships SET {end} WHERE person_id = %s",  # noqa: S608 - a literal of this module
        post.member.person_id,
    )


def secrets_of(post: Post, owner: UUID) -> int:
    return len(post.box.rows("SELECT 1 FROM credentials.secrets WHERE belongs_to = %s", owner))


async def make_hook(post: Post) -> UUID:
    async with post.open() as scope:
        made = await post.hooks.make(scope, "Issues", Scheme.GITHUB)
    await switch_hook(post, made.id, on=True)
    return made.id


async def switch_hook(post: Post, hook: UUID, *, on: bool) -> None:
    async with post.open() as scope:
        await hooks.switch(scope, hook, on=on)


def hook_row(post: Post, hook: UUID) -> dict[str, object]:
    return post.box.rows("SELECT * FROM credentials.inbound_hooks WHERE id = %s", hook)[0]


# ── Going out ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.5.3")
@ENDS
async def test_it_goes_off_with_its_holders_membership_until_somebody_else_holds_it(
    post: Post, other: Post, end: LiteralString
) -> None:
    endpoint, _ = await other.make()
    await other.switch(endpoint, on=False)
    await post.switch(endpoint, on=True)
    await post.decide()
    leave(post, end)
    assert not await post.sender.send_one()
    assert post.row(endpoint)["off_because"] == "left"
    # Who has seen the secret is still here, so it may stay as it is.
    await other.switch(endpoint, on=True)
    row = post.row(endpoint)
    assert (row["is_on"], row["holder_id"]) == (True, other.member.person_id)
    await other.decide()
    assert await post.sender.send_one()


@pytest.mark.proves("5.5.3", "1.3.4")
@ENDS
async def test_it_goes_off_with_the_membership_of_whoever_has_seen_its_secret_whoever_holds_it(
    post: Post, other: Post, end: LiteralString
) -> None:
    endpoint, _ = await post.make()
    await other.switch(endpoint, on=False)
    await other.switch(endpoint, on=True)
    assert post.row(endpoint)["holder_id"] == other.member.person_id
    await other.decide()
    leave(post, end)
    assert not await post.sender.send_one()
    assert post.row(endpoint)["off_because"] == "left"
    async with other.open() as scope:
        found = await get_endpoint(scope, endpoint)
    assert found.needs_secret
    assert "Give it another secret" in found.says
    with pytest.raises(RotateFirst):
        await other.switch(endpoint, on=True)
    async with other.open() as scope:
        await other.endpoints.rotate(scope, endpoint, 24)
        found = await get_endpoint(scope, endpoint)
    assert (found.needs_secret, found.off_because, found.previous_until) == (False, None, None)
    assert secrets_of(other, endpoint) == 1
    await other.switch(endpoint, on=True)
    await other.decide()
    assert await other.sender.send_one()


@pytest.mark.proves("1.3.4")
async def test_one_that_is_off_already_needs_another_secret_as_well(post: Post, other: Post) -> None:
    endpoint, _ = await post.make(on=False)
    leave(post)
    with pytest.raises(RotateFirst):
        await other.switch(endpoint, on=True)
    # Coming back does not help: what was known outside meanwhile stays known.
    leave(post, "ended_at = NULL")
    with pytest.raises(RotateFirst):
        await post.switch(endpoint, on=True)


@pytest.mark.proves("1.3.4")
async def test_a_secret_before_ends_with_the_membership_of_whoever_has_seen_it(post: Post, other: Post) -> None:
    endpoint, _ = await post.make()
    async with other.open() as scope:
        await other.endpoints.rotate(scope, endpoint, 24)
    assert secrets_of(post, endpoint) == 2
    leave(post)
    row = post.row(endpoint)
    assert (row["is_on"], row["previous_kept_id"], row["previous_until"]) == (True, None, None)
    assert secrets_of(post, endpoint) == 1
    await other.decide()
    assert await other.sender.send_one()
    assert len(other.receiver.received[0].headers["webhook-signature"].split()) == 1


@pytest.mark.proves("5.5.3")
async def test_another_address_switches_it_off_so_that_whoever_switches_it_on_holds_it(post: Post, other: Post) -> None:
    endpoint, _ = await post.make()
    kinds = [EventKind.MEMORY_RECORDED]
    await other.endpoints.change(other.open, endpoint, "Books", kinds)
    await other.endpoints.change(other.open, endpoint, "Books", kinds, post.receiver.url)
    assert post.row(endpoint)["is_on"]
    await post.decide()
    await other.endpoints.change(other.open, endpoint, "Books", kinds, f"{post.receiver.url}/elsewhere")
    assert not await post.sender.send_one()
    async with post.open() as scope:
        (found,) = await list_endpoints(scope)
    assert (found.is_on, found.off_because, found.dead) == (False, OffBecause.CHANGED, 1)
    assert "another address" in found.says
    await other.switch(endpoint, on=True)
    assert post.row(endpoint)["holder_id"] == other.member.person_id
    leave(other)
    await post.decide()
    assert not await post.sender.send_one()
    assert post.receiver.received == []


# ── Coming in ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("5.5.3", "1.3.4")
@ENDS
async def test_an_address_takes_nothing_once_whoever_has_seen_its_secret_may_not_manage_it(
    post: Post, other: Post, end: LiteralString
) -> None:
    hook = await make_hook(post)
    await switch_hook(other, hook, on=False)
    await switch_hook(other, hook, on=True)
    assert hook_row(post, hook)["holder_id"] == other.member.person_id
    leave(post, end)
    row = hook_row(post, hook)
    assert (row["is_on"], row["off_because"]) == (False, "left")
    async with other.open() as scope:
        found = await get_hook(scope, hook)
    assert found.needs_secret
    assert "Give it another secret" in found.says
    with pytest.raises(RotateFirst):
        await switch_hook(other, hook, on=True)
    async with other.open() as scope:
        await other.hooks.rotate(scope, hook, 24)
        found = await get_hook(scope, hook)
    assert (found.needs_secret, found.off_because, found.previous_until) == (False, None, None)
    assert secrets_of(other, hook) == 1
    await switch_hook(other, hook, on=True)
    assert hook_row(post, hook)["is_on"]


@pytest.mark.proves("1.3.4")
async def test_a_secret_before_signs_no_message_after_whoever_has_seen_it_left(post: Post, other: Post) -> None:
    hook = await make_hook(post)
    async with other.open() as scope:
        await other.hooks.rotate(scope, hook, 24)
    assert secrets_of(post, hook) == 2
    leave(post)
    row = hook_row(post, hook)
    assert (row["is_on"], row["previous_kept_id"]) == (True, None)
    assert secrets_of(post, hook) == 1


async def test_an_address_whose_holder_leaves_is_switched_on_by_somebody_else(post: Post, other: Post) -> None:
    hook = await make_hook(other)
    await switch_hook(other, hook, on=False)
    await switch_hook(post, hook, on=True)
    leave(post)
    assert hook_row(post, hook)["off_because"] == "left"
    await switch_hook(other, hook, on=True)
    assert hook_row(post, hook)["holder_id"] == other.member.person_id
