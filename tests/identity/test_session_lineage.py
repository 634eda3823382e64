"""Many refreshes of one session at once, again and again: one line of tokens, and nobody is signed out."""

import asyncio

import pytest

from tests.identity.arranged import Arranger, Held
from tests.identity.conftest import Identity

REFRESHES_AT_ONCE = 50


@pytest.mark.proves("2.3.1")
@pytest.mark.parametrize(
    "rounds", [pytest.param(5, id="five-rounds"), pytest.param(200, id="two-hundred-rounds", marks=pytest.mark.soak)]
)
async def test_fifty_refreshes_at_once_give_one_successor_round_after_round(identity: Identity, rounds: int) -> None:
    arranger = Arranger(identity)
    held = arranger.session(arranger.person())
    for step in range(rounds):
        await _assert_one_successor(identity, arranger, held, step)


async def _assert_one_successor(identity: Identity, arranger: Arranger, held: Held, step: int) -> None:
    given = await asyncio.gather(*(arranger.refresh(held, step) for _ in range(REFRESHES_AT_ONCE)))
    assert {each.refresh_token for each in given} == {held.refresh_token(step + 1)}, step
    assert {identity.secret_of(each) for each in given} == {held.access_secret(step + 1)}, step
    rows = identity.rows(
        "SELECT id, counter, ended_at FROM identity.sessions WHERE person_id = %s OR id = %s", held.person, held.id
    )
    assert [(row["id"], row["counter"], row["ended_at"]) for row in rows] == [(held.id, step + 1, None)]
    assert await arranger.opens(held.access_secret(step + 1)), step
    # Requests that are under way with the former access token are not cut off, and older ones open nothing.
    assert await arranger.opens(held.access_secret(step)), step
    assert step == 0 or not await arranger.opens(held.access_secret(step - 1)), step
