"""No altered replay of an approval is accepted; each unaltered one is, once."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from tests.agents.conftest import Desk, Office
from tests.agents.replaying import STATES, Database, colleagues, is_accepted, replays, standing

AT_ONCE = 6
EVERY = 50
"""So many replays, then the unaltered approval is presented: where it is refused, the others prove nothing."""
WAYS = frozenset({"at once", "argument", "order", "Unicode form", "tool", "run", "person", "company", *STATES})


@pytest.mark.proves("5.5.1", "5.3.3")
@pytest.mark.parametrize(
    "count",
    [
        pytest.param(66, id="a-few"),
        pytest.param(9_900, id="ten-thousand", marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
async def test_no_altered_replay_is_accepted(desk: Desk, office: Office, count: int) -> None:
    """Altered calls, other runs, people and companies, states that make it void, and several at once."""
    ways = Counter[str]()
    async with AsyncExitStack() as stack:
        sibling = await stack.enter_async_context(standing(desk, office.founder, "other.md"))
        others = {
            name: await stack.enter_async_context(standing(desk, member, "plan.md"))
            for name, member in colleagues(office).items()
        }
        own = await stack.enter_async_context(standing(desk, office.founder, "plan.md", office.advisor))
        database = Database(stack.enter_context(desk.servers.as_owner()), own.approval["id"])
        for number, replay in enumerate(replays(20_26, own, sibling, others, count)):
            if replay.state is not None:
                database.put(replay.state)
            assert not await is_accepted(replay), replay
            if replay.state is not None:
                database.restore()
            ways[replay.way] += 1
            if number % EVERY == 0:
                assert await is_accepted(own), "the unaltered one is not accepted either"
        for _ in range(max(1, count // 400)):
            answers = await asyncio.gather(*(is_accepted(own, keep=True) for _ in range(AT_ONCE)))
            assert sum(answers) == 1
            ways["at once"] += AT_ONCE - 1
            assert not await is_accepted(own), "it was used a second time"
            database.restore()
    assert set(ways) == WAYS
    assert sum(ways.values()) > count
