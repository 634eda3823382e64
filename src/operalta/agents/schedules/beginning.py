"""Beginning schedules that are due: work of the job role, one transaction each, at most one run for each due time.

The schedule is locked, its next time worked out, its run made and its next time kept, all in that one transaction. A
worker that dies in it leaves the schedule due; a second worker passes over one that is locked. After an outage a
schedule is begun once, whatever it missed, and goes on with its next time.
"""

import asyncio
import random
from contextlib import suppress

import psycopg
import structlog

from operalta.agents.schedules import store
from operalta.agents.schedules.rules import following
from operalta.db.elevated import Purpose, open_elevated
from operalta.db.errors import DatabaseOutOfReach
from operalta.db.pools import Pool
from operalta.kernel import clock
from operalta.terms.registry import upholds

PAUSE_SECONDS = 2.0
log = structlog.get_logger(__name__)


class Beginner:
    """Begins what is due. `pool` is the job role's."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def run(self, stop: asyncio.Event) -> None:
        """Begin whatever is due, every two seconds, until `stop` is set."""
        while not stop.is_set():
            try:
                while not stop.is_set() and await self.begin_one():
                    pass
            except (DatabaseOutOfReach, psycopg.Error) as failure:
                log.warning("schedules are begun later", error=type(failure).__name__)
            except Exception as failure:
                # Nothing that trips us up ends the worker: what was due stays due.
                log.exception("schedules are begun later", error=type(failure).__name__)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), PAUSE_SECONDS * random.uniform(0.8, 1.2))  # noqa: S311 - no secret

    @upholds("5.0.1", "2.4.4")
    async def begin_one(self) -> bool:
        """Begin the schedule that is due longest; return whether one was due."""
        async with open_elevated(self._pool, Purpose.BEGIN_SCHEDULES) as elevated:
            row = await store.due(elevated.connection)
            if row is None:
                return False
            try:
                coming = following(store.times_of(row), clock.now())
            except ValueError as failure:
                log.warning("a schedule has no next time", schedule=str(row["schedule"]), error=str(failure))
                coming = None
            await store.begin(elevated.connection, row, coming)
        return True
