"""Claims: the dispatcher takes a run by its id and gets a secret that opens the run's scope, and nothing else.

It works as the dispatcher's database role, which sees the queue and ids but no content.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog

from operalta.agents import store
from operalta.db.errors import ClaimLost, DatabaseOutOfReach
from operalta.db.pools import Pool

HEARTBEAT_SECONDS = 0.5
"""How soon at the latest a tool that is under way is ended where its person has left the company."""
Result = TypeVar("Result")
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Claim:
    """A claim that is held. `stop` is set when the person wants the run to stop, `lost` when the claim is gone.

    `over`: whoever held it has let it go, and it is not to be kept any longer.
    """

    run_id: UUID
    secret: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    over: bool = False


class Dispatcher:
    """Takes and keeps claims."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def claimed(self, run_id: UUID) -> AsyncGenerator[Claim | None]:
        """Claim a run and keep the claim alive inside the block. None: it is over, or somebody else has it."""
        async with self._pool.acquire() as connection:
            secret = await store.claim(connection, run_id)
            await connection.commit()
        if secret is None:
            yield None
            return
        claim = Claim(run_id, secret)
        beat = asyncio.create_task(self._keep(claim))
        try:
            yield claim
        finally:
            # A driver whose connection dies in the moment of the cancellation can lose it and tell of the connection.
            claim.over = True
            beat.cancel()
            await asyncio.wait({beat})
        # Only what came to its end or waits is given back. After a fault the claim lapses, and that is what the
        # rescue looks for.
        with suppress(DatabaseOutOfReach):
            async with self._pool.acquire() as connection:
                await store.release_claim(connection, run_id, claim.secret)
                await connection.commit()

    async def renew(self, claim: Claim) -> bool:
        """Prolong a claim that may have lapsed. False: another worker has the run, or it is over."""
        async with self._pool.acquire() as connection:
            held, _ = await store.keep_claim(connection, claim.run_id, claim.secret)
            await connection.commit()
        return held

    async def abandon(self, claim: Claim, why: str) -> None:
        """End a run for which no scope can be opened."""
        async with self._pool.acquire() as connection:
            await store.abandon(connection, claim.run_id, claim.secret, why)
            await connection.commit()

    async def rescue(self) -> list[UUID]:
        """Queue again the runs that lost their worker. Called every few seconds."""
        async with self._pool.acquire() as connection:
            rescued = await store.rescue(connection)
            await connection.commit()
        return rescued

    async def _keep(self, claim: Claim) -> None:
        while not claim.over:
            try:
                async with self._pool.acquire() as connection:
                    held, stop = await store.keep_claim(connection, claim.run_id, claim.secret)
                    await connection.commit()
            except DatabaseOutOfReach:
                log.warning("the claim could not be kept", run=str(claim.run_id))
            else:
                if stop:
                    claim.stop.set()
                if not held:
                    claim.lost.set()
                    return
            await asyncio.sleep(HEARTBEAT_SECONDS)


async def unless_stopped(claim: Claim, work: Awaitable[Result]) -> Result | None:
    """Return what `work` gives; None where the person stopped the run first, which ends the work at once.

    So does losing the claim (the person has left the company, or another worker has the run): ClaimLost then.
    """
    under_way = asyncio.ensure_future(work)
    stopped, lost = (asyncio.ensure_future(event.wait()) for event in (claim.stop, claim.lost))
    waited_for = {under_way, stopped, lost}
    try:
        await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
        if under_way.done():
            return under_way.result()
        if lost.done():
            raise ClaimLost
        return None
    finally:
        for task in waited_for:
            task.cancel()
        await asyncio.wait(waited_for)
