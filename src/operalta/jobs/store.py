"""The SQL of the jobs room, for the dispatch role."""

from operalta.db.pools import Connection


async def requeue_stalled(connection: Connection, *, silent_seconds: float, stuck_seconds: float, attempts: int) -> int:
    """Queue delivery jobs again whose worker went silent, or that take impossibly long. Return how many.

    Those that had all their `attempts` are given up. Runs are not touched: their claims say who works on them, and
    the agents' own rescue queues them again.
    """
    cursor = await connection.execute(
        """
        UPDATE jobs.procrastinate_jobs AS job
        SET attempts = job.attempts + 1, worker_id = NULL, abort_requested = false,
            status = (CASE WHEN job.attempts >= %(attempts)s THEN 'failed' ELSE 'todo' END
                )::jobs.procrastinate_job_status
        WHERE job.status = 'doing' AND job.queue_name = 'delivery'
          AND (NOT EXISTS (SELECT FROM jobs.procrastinate_workers AS worker WHERE worker.id = job.worker_id
                  AND worker.last_heartbeat > now() - make_interval(secs => %(silent)s))
              OR NOT EXISTS (SELECT FROM jobs.procrastinate_events AS event WHERE event.job_id = job.id
                  AND event.type = 'started' AND event.at > now() - make_interval(secs => %(stuck)s)))
        """,
        {"attempts": attempts, "silent": silent_seconds, "stuck": stuck_seconds},
    )
    return cursor.rowcount


async def purge(connection: Connection) -> int:
    """Delete jobs that were given up or cut short; workers remove those that they finish. Return how many."""
    cursor = await connection.execute(
        "DELETE FROM jobs.procrastinate_jobs WHERE status IN ('succeeded', 'failed', 'cancelled', 'aborted')"
    )
    return cursor.rowcount


async def forget_silent_workers(connection: Connection, silent_seconds: float) -> None:
    """Delete the rows of workers that have not been heard of for a while."""
    await connection.execute(
        "DELETE FROM jobs.procrastinate_workers WHERE last_heartbeat < now() - make_interval(secs => %(silent)s)",
        {"silent": silent_seconds},
    )


async def forget_expired(connection: Connection) -> None:
    """Remove sign-ups that nobody confirmed, links and mail past their time. For the job role."""
    await connection.execute("SELECT elevated.forget_expired()")


async def forget_webhooks(connection: Connection) -> None:
    """Remove what webhooks sent and received past its time, and secrets whose overlap is over. For the job role."""
    await connection.execute("SELECT elevated.forget_webhooks()")


async def forget_model_requests(connection: Connection) -> None:
    """Remove old lines of the ledger of model requests. For the job role."""
    await connection.execute("SELECT elevated.forget_model_requests()")


async def mail_waiting_approvals(connection: Connection) -> None:
    """Queue mail about cards that have waited for a minute. For the job role."""
    await connection.execute("SELECT elevated.mail_waiting_approvals()")
