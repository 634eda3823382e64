"""Maintenance of the queue: what a dead worker left behind is queued again, what has ended is removed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg

from operalta.db.elevated import Purpose, open_elevated
from operalta.db.errors import DatabaseOutOfReach
from operalta.db.pools import Pool
from operalta.jobs import store
from operalta.jobs.queue import HEARTBEAT_SECONDS, RETRY_AFTER_SECONDS

PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 10.0
FORGETTING_PAUSE_SECONDS = 3600.0
REMINDING_PAUSE_SECONDS = 10.0
SILENT_SECONDS = 5 * HEARTBEAT_SECONDS
"""A worker that has not been heard of for this long is dead. It says so itself when it stops in order."""
STUCK_SECONDS = 600.0
"""No delivery takes this long: each step of one has a time-out."""

Rescue = Callable[[], Awaitable[None]]
"""Queues agents' runs again whose worker went silent; the agents' room hands it in at wiring."""

_LOG = logging.getLogger(__name__)


async def maintain(pool: Pool) -> int:
    """Queue stalled deliveries again and remove what has ended; return how many were queued again.

    `pool` is the dispatch role's.
    """
    async with pool.acquire() as connection, connection.transaction():
        again = await store.requeue_stalled(
            connection, silent_seconds=SILENT_SECONDS, stuck_seconds=STUCK_SECONDS, attempts=len(RETRY_AFTER_SECONDS)
        )
        await store.purge(connection)
        await store.forget_silent_workers(connection, 4 * SILENT_SECONDS)
    return again


async def forget(job_pool: Pool, stop: asyncio.Event) -> None:
    """Remove what has expired, once an hour until `stop` is set. `job_pool` is the job role's."""
    while not stop.is_set():
        try:
            async with open_elevated(job_pool, Purpose.FORGET_EXPIRED) as elevated:
                await store.forget_expired(elevated.connection)
                await store.forget_webhooks(elevated.connection)
                await store.forget_model_requests(elevated.connection)
        except (DatabaseOutOfReach, psycopg.Error) as failure:
            _LOG.warning("what has expired stays for now: %s", type(failure).__name__)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), FORGETTING_PAUSE_SECONDS)


async def remind(job_pool: Pool, stop: asyncio.Event) -> None:
    """Have mail written about approvals that wait, until `stop` is set. `job_pool` is the job role's."""
    while not stop.is_set():
        try:
            async with open_elevated(job_pool, Purpose.DELIVER_MAIL) as elevated:
                await store.mail_waiting_approvals(elevated.connection)
        except (DatabaseOutOfReach, psycopg.Error) as failure:
            _LOG.warning("nobody is written to about approvals for now: %s", type(failure).__name__)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), REMINDING_PAUSE_SECONDS)


async def run(pool: Pool, stop: asyncio.Event, rescue: Rescue) -> None:
    """Maintain and `rescue` every two seconds until `stop` is set. Neither keeps the other from its turn."""
    pause = PAUSE_SECONDS
    while not stop.is_set():
        results = await asyncio.gather(maintain(pool), rescue(), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            if not isinstance(failure, DatabaseOutOfReach | psycopg.Error | OSError):
                _LOG.error("maintenance of the queue failed", exc_info=failure)
            else:
                _LOG.warning("maintenance of the queue waits: %s", type(failure).__name__)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS) if failures else PAUSE_SECONDS
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
