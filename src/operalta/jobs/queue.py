"""The queue: procrastinate on PostgreSQL, with two tasks that carry an id each and never content.

Rows come into it through the database's own function alone, in the caller's transaction. What the handlers do is
handed in at wiring, since their rooms stand above this one.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any, Final, LiteralString, TypeVar
from uuid import UUID

import psycopg
from procrastinate import App, PsycopgConnector, RetryDecision
from procrastinate.connector import Notify
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job
from procrastinate.retry import BaseRetryStrategy
from procrastinate.sql import queries
from psycopg.rows import dict_row

Handler = Callable[[UUID], Awaitable[None]]
"""Does what one job asks for. Done twice, it must do no harm: a worker may die between doing it and saying so."""

Result = TypeVar("Result")

RUNS: Final = "runs"
DELIVERY: Final = "delivery"
RETRY_AFTER_SECONDS: Final = (2, 10, 60, 300)
"""How long a failed job waits before its next attempt; after the last one it is given up."""

HEARTBEAT_SECONDS = 3.0
POLLING_SECONDS = 2.0
PATIENCE_SECONDS = 20.0
"""How long a running job may still take once the worker is asked to stop."""

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 5.0
_STATEMENT_ATTEMPTS = 20
_LOOK_AT_THE_TABLE = json.dumps({"type": "job_inserted", "job_id": 0})
_LOG = logging.getLogger(__name__)

# Serving settings, as in operalta.db.pools; the search path is how the queue's own SQL finds its schema.
_OPTIONS = (
    "-c search_path=jobs,pg_catalog -c client_min_messages=warning -c statement_timeout=15000 -c lock_timeout=5000 "
    "-c TimeZone=UTC"
)


class UnusableJob(ValueError):  # noqa: N818 - says what is wrong with the job
    """The job's arguments are not those of its task. It is given up at once."""


class GuardedConnector(PsycopgConnector):
    """procrastinate's connector, hardened against what other roles can send it and against outages.

    Every role may NOTIFY every channel, with any payload. So no payload is read: whatever arrives only makes the
    worker look at its table. Statements are repeated while the database is away, and so is listening.
    """

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        """Listen for ever. A lost connection is made again; meanwhile the worker polls."""
        names = list(channels)

        async def look(*, channel: str, payload: str) -> None:
            del payload
            await on_notification(channel=channel, payload=_LOOK_AT_THE_TABLE)

        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                await super().listen_notify(on_notification=look, channels=names)
            except (ConnectorException, psycopg.Error, OSError) as error:
                _LOG.warning("the queue cannot listen and polls instead: %s", type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:  # noqa: ANN401 - as in the base
        """Run a statement, again and again while the database is away. The heartbeat never gives up.

        A heartbeat that stopped would make a living worker look dead, and its jobs be started a second time.
        """
        base = super().execute_query_async
        await _patiently(lambda: base(query, **arguments), for_ever=query == queries["update_heartbeat"])

    async def execute_query_one_async(
        self,
        query: LiteralString,
        **arguments: Any,  # noqa: ANN401 - as in the base
    ) -> dict[str, Any]:
        """Run a query for one row, again and again while the database is away.

        A worker that could not fetch would end, and take along what it has in hand. Arguments that are no object,
        over which procrastinate stumbles, become some that every task refuses.
        """
        base = super().execute_query_one_async
        row = await _patiently(lambda: base(query, **arguments))
        if row.get("id") is not None and not isinstance(row.get("args", {}), dict):
            row["args"] = {"malformed": True}
        return row


async def _patiently(attempt: Callable[[], Awaitable[Result]], *, for_ever: bool = False) -> Result:
    tried = 0
    while True:
        tried += 1
        try:
            return await attempt()
        except ConnectorException as error:
            passing = isinstance(error.__cause__, psycopg.OperationalError)
            if not passing or (tried >= _STATEMENT_ATTEMPTS and not for_ever):
                raise
            await asyncio.sleep(min(_FIRST_PAUSE_SECONDS * tried, _LONGEST_PAUSE_SECONDS))


class _Backoff(BaseRetryStrategy):
    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if isinstance(exception, UnusableJob) or job.attempts >= len(RETRY_AFTER_SECONDS):
            return None
        return RetryDecision(retry_in={"seconds": RETRY_AFTER_SECONDS[job.attempts]})


def make_queue(dsn: str, *, run_agent: Handler, deliver_message: Handler, size: int = 6) -> App:
    """Return the queue, not yet open, on the dispatch role's `dsn` with at most `size` connections.

    `run_agent` and `deliver_message` receive the id that was deferred. One that raises is tried again after each of
    `RETRY_AFTER_SECONDS`.
    """
    connector = GuardedConnector(
        conninfo=dsn,
        kwargs={
            "row_factory": dict_row,
            "options": _OPTIONS,
            "application_name": "operalta_dispatch",
            "connect_timeout": 5,
        },
        min_size=1,
        max_size=size,
        timeout=5.0,
        reconnect_timeout=30.0,
    )
    app = App(connector=connector)
    _register(app, RUNS, "run_agent", run_agent)
    _register(app, DELIVERY, "deliver_message", deliver_message)
    return app


async def work(app: App, stop: asyncio.Event, concurrency: int = 4) -> None:
    """Work on jobs until `stop` is set; then let those that run finish for up to `PATIENCE_SECONDS`.

    An outage of the database ends no more than an attempt: it goes on when the database is back. The queue must be
    open (`async with app.open_async()`).
    """
    pause = _FIRST_PAUSE_SECONDS
    while not stop.is_set():
        worker = asyncio.create_task(_worker(app, concurrency))
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({worker, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            worker.cancel()  # which lets running jobs finish
            await asyncio.wait({worker}, timeout=PATIENCE_SECONDS + _LONGEST_PAUSE_SECONDS)
        if worker.done() and not worker.cancelled():
            error = worker.exception()
            _LOG.warning("the queue's worker starts again: %s", type(error).__name__, exc_info=error)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


async def _worker(app: App, concurrency: int) -> None:
    await app.run_worker_async(
        queues=[RUNS, DELIVERY],
        name="operalta",
        concurrency=concurrency,
        fetch_job_polling_interval=POLLING_SECONDS,
        shutdown_graceful_timeout=PATIENCE_SECONDS,
        listen_notify=True,
        delete_jobs="always",
        install_signal_handlers=False,
        update_heartbeat_interval=HEARTBEAT_SECONDS,
    )


def _register(app: App, queue: str, name: str, handler: Handler) -> None:
    @app.task(queue=queue, name=name, retry=_Backoff())
    async def task(**arguments: object) -> None:  # pyright: ignore[reportUnusedFunction] - the app keeps it
        await handler(_subject(arguments))


def _subject(arguments: dict[str, object]) -> UUID:
    subject = arguments.get("subject")
    if len(arguments) != 1 or not isinstance(subject, str):
        raise UnusableJob("a job carries one id")
    try:
        return UUID(subject)
    except ValueError:
        raise UnusableJob("a job carries one id") from None
