"""The SQL of runs with their events and tool calls, claims, and the egress log of runs."""

from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from operalta.db.pools import Connection
from operalta.db.scope import Row, Scope

# ── Folders ─────────────────────────────────────────────────────────────────────────────────────────────


async def directories_of_run(scope: Scope) -> list[list[str] | None]:
    """Return the folders declared for the agent of the scope's run, and for those of the runs that it comes from.

    One list for each; empty where an agent is held to none, None where it cannot be seen from the scope.
    """
    rows = await scope.all(
        """
        WITH RECURSIVE line AS (
            SELECT run.company_id, run.agent_id, run.parent_run_id FROM agents.runs AS run
            WHERE run.company_id = %(company)s AND run.id = %(run)s
            UNION
            SELECT parent.company_id, parent.agent_id, parent.parent_run_id
            FROM line JOIN agents.runs AS parent
                ON parent.company_id = line.company_id AND parent.id = line.parent_run_id
        )
        SELECT agent.directories FROM line LEFT JOIN agents.agents AS agent
            ON agent.company_id = line.company_id AND agent.id = line.agent_id
        """,
        {"company": scope.company, "run": scope.actor.run_id},
    )
    return [row["directories"] for row in rows]


async def tools_above(scope: Scope) -> list[dict[str, str]]:
    """Return what is decided about the tools of the agents of the runs that the scope's run comes from."""
    rows = await scope.all(
        """
        WITH RECURSIVE line AS (
            SELECT run.company_id, run.agent_id, run.parent_run_id FROM agents.runs AS run
            WHERE run.company_id = %(company)s AND run.id = %(run)s
            UNION
            SELECT parent.company_id, parent.agent_id, parent.parent_run_id
            FROM line JOIN agents.runs AS parent
                ON parent.company_id = line.company_id AND parent.id = line.parent_run_id
        )
        SELECT agent.tools FROM line JOIN agents.agents AS agent
            ON agent.company_id = line.company_id AND agent.id = line.agent_id
        """,
        {"company": scope.company, "run": scope.actor.run_id},
    )
    return [row["tools"] for row in rows]


# ── Runs ───────────────────────────────────────────────────────────────────────────────────────────────


async def start_run(scope: Scope, run_id: UUID, message_id: UUID, agent_id: UUID, route: str) -> bool:
    """Make and queue the run of a message that the person of the scope has just written."""
    row = await scope.one(
        "SELECT agents.start_run(%(run)s, %(message)s, %(agent)s, %(route)s) AS made",
        {"run": run_id, "message": message_id, "agent": agent_id, "route": route},
    )
    return bool(row and row["made"])


async def run(scope: Scope, run_id: UUID) -> Row | None:
    """Return one run."""
    return await scope.one(
        "SELECT company_id, id, conversation_id, message_id, agent_id, person_id, private_to, route, status, attempts,"
        " stop_requested_at, created_at, started_at, finished_at, failure, queued_at, origin, schedule_id, retry_of,"
        " continued, limit_reached, parent_run_id, task FROM agents.runs"
        " WHERE company_id = %(company)s AND id = %(id)s",
        {"company": scope.company, "id": run_id},
    )


async def run_of_message(scope: Scope, message_id: UUID) -> Row | None:
    """Return the run that a message made, not what repeats it."""
    return await scope.one(
        "SELECT id, status FROM agents.runs WHERE company_id = %(company)s AND message_id = %(message)s"
        " AND retry_of IS NULL AND parent_run_id IS NULL",
        {"company": scope.company, "message": message_id},
    )


async def runs_of_conversation(scope: Scope, conversation_id: UUID) -> list[Row]:
    """Return the runs of a conversation, oldest first."""
    return await scope.all(
        "SELECT id, message_id, agent_id, person_id, status, failure, created_at, queued_at, origin, retry_of, continued,"
        " limit_reached, parent_run_id FROM agents.runs"
        " WHERE company_id = %(company)s AND conversation_id = %(conversation)s ORDER BY created_at LIMIT 500",
        {"company": scope.company, "conversation": conversation_id},
    )


async def start_child_run(scope: Scope, child: UUID, agent_id: UUID, task: str, call_id: str) -> str:
    """Make and queue a run for a call of the scope's run; return what came of it, as the database says."""
    row = await scope.one(
        "SELECT agents.start_child_run(%(child)s, %(agent)s, %(task)s, %(call)s) AS came",
        {"child": child, "agent": agent_id, "task": task, "call": call_id},
    )
    return row["came"] if row else "refused"


async def child_of_call(scope: Scope, run_id: UUID, call_id: str) -> Row | None:
    """Return the run that a call of `run_id` began."""
    return await scope.one(
        "SELECT child.id, child.status, child.failure, agent.name AS agent_name FROM agents.runs AS child"
        " JOIN agents.agents AS agent ON agent.company_id = child.company_id AND agent.id = child.agent_id"
        " WHERE child.company_id = %(company)s AND child.parent_run_id = %(run)s AND child.parent_call_id = %(call)s",
        {"company": scope.company, "run": run_id, "call": call_id},
    )


async def children_over(scope: Scope, run_id: UUID) -> list[UUID]:
    """Return the runs that a run began and that have come to their end."""
    rows = await scope.all(
        "SELECT id FROM agents.runs WHERE company_id = %(company)s AND parent_run_id = %(run)s"
        " AND status IN ('finished', 'failed', 'stopped')",
        {"company": scope.company, "run": run_id},
    )
    return [row["id"] for row in rows]


async def set_status(
    scope: Scope, run_id: UUID, status: str, failure: str | None = None, limit: str | None = None
) -> int:
    """Move the run of the scope to `status`; a run that is over keeps its end. `limit`: the one that it reached."""
    return await scope.execute(
        "UPDATE agents.runs SET status = %(status)s, failure = %(failure)s, limit_reached = %(limit)s,"
        " finished_at = CASE WHEN %(status)s IN ('finished', 'failed', 'stopped') THEN now() END"
        " WHERE company_id = %(company)s AND id = %(id)s AND status NOT IN ('finished', 'failed', 'stopped')",
        {"company": scope.company, "id": run_id, "status": status, "failure": failure, "limit": limit},
    )


async def run_ahead_of(scope: Scope, run_id: UUID) -> Row | None:
    """Return the run that a queued one of the same conversation waits for: the last of those before it."""
    return await scope.one(
        "SELECT ahead.id, ahead.status FROM agents.runs AS own JOIN agents.runs AS ahead"
        " ON ahead.company_id = own.company_id AND ahead.conversation_id = own.conversation_id"
        " WHERE own.company_id = %(company)s AND own.id = %(id)s AND own.status = 'queued' AND own.parent_run_id IS NULL"
        " AND own.stop_requested_at IS NULL"
        " AND ahead.parent_run_id IS NULL AND ahead.status IN ('queued', 'running', 'waiting_for_approval')"
        " AND (ahead.queued_at, ahead.id) < (own.queued_at, own.id) ORDER BY ahead.queued_at DESC, ahead.id DESC LIMIT 1",
        {"company": scope.company, "id": run_id},
    )


async def retry_run(scope: Scope, run_id: UUID, new_run: UUID) -> str:
    """Make and queue another run for the message of one that failed or was stopped; return what came of it."""
    row = await scope.one("SELECT agents.retry_run(%(run)s, %(new)s) AS came", {"run": run_id, "new": new_run})
    return row["came"] if row else "none"


async def continue_run(scope: Scope, run_id: UUID) -> str:
    """Give a run that a limit ended the same allowance again, and queue it; return what came of it."""
    row = await scope.one("SELECT agents.continue_run(%(run)s) AS came", {"run": run_id})
    return row["came"] if row else "none"


async def request_stop(scope: Scope, run_id: UUID) -> int:
    """Ask a run of the person's own to stop."""
    return await scope.execute(
        "UPDATE agents.runs SET stop_requested_at = now() WHERE company_id = %(company)s AND id = %(id)s"
        " AND status IN ('queued', 'running', 'waiting_for_approval')",
        {"company": scope.company, "id": run_id},
    )


async def stop_is_wanted(scope: Scope, run_id: UUID) -> bool:
    """Tell whether the person has asked a run to stop."""
    row = await scope.one(
        "SELECT FROM agents.runs WHERE company_id = %(company)s AND id = %(id)s AND stop_requested_at IS NOT NULL",
        {"company": scope.company, "id": run_id},
    )
    return row is not None


async def resume_run(scope: Scope, run_id: UUID) -> bool:
    """Queue a run again after a decision or a wish to stop."""
    row = await scope.one("SELECT agents.resume_run(%(run)s) AS queued", {"run": run_id})
    return bool(row and row["queued"])


# ── Events ─────────────────────────────────────────────────────────────────────────────────────────────


async def add_event(scope: Scope, run_row: Row, sequence: int, kind: str, body: dict[str, Any], worked_ms: int) -> None:
    """Add one event row; `worked_ms` is how long the run was worked on since the one before, in milliseconds."""
    await scope.execute(
        "INSERT INTO agents.run_events (company_id, run_id, sequence, private_to, kind, body, worked_ms)"
        " VALUES (%(company)s, %(run)s, %(sequence)s, %(private_to)s, %(kind)s, %(body)s, %(worked_ms)s)",
        {
            "company": scope.company,
            "run": run_row["id"],
            "sequence": sequence,
            "private_to": run_row["private_to"],
            "kind": kind,
            "body": Jsonb(body),
            "worked_ms": worked_ms,
        },
    )


async def events(scope: Scope, run_id: UUID, after: int = 0) -> list[Row]:
    """Return a run's events after `after`, in order."""
    return await scope.all(
        "SELECT sequence, kind, body, at, worked_ms FROM agents.run_events"
        " WHERE company_id = %(company)s AND run_id = %(run)s AND sequence > %(after)s ORDER BY sequence LIMIT 2000",
        {"company": scope.company, "run": run_id, "after": after},
    )


async def event_of_kind(scope: Scope, run_id: UUID, kind: str) -> Row | None:
    """Return the first event of a kind of a run."""
    return await scope.one(
        "SELECT sequence, kind, body, at FROM agents.run_events WHERE company_id = %(company)s AND run_id = %(run)s"
        " AND kind = %(kind)s ORDER BY sequence LIMIT 1",
        {"company": scope.company, "run": run_id, "kind": kind},
    )


async def all_events(scope: Scope, run_id: UUID) -> list[Row]:
    """Return every event of a run, in order."""
    found: list[Row] = []
    while batch := await events(scope, run_id, found[-1]["sequence"] if found else 0):
        found += batch
    return found


async def steps_of_conversation(scope: Scope, conversation_id: UUID) -> list[Row]:
    """Return the events of a conversation's runs that its page shows: tools, failures. Without what the model read."""
    return await scope.all(
        "SELECT event.run_id, event.sequence, event.kind, event.body #- '{content,content}' AS body, event.at"
        " FROM agents.run_events AS event"
        " JOIN agents.runs AS run ON run.company_id = event.company_id AND run.id = event.run_id"
        " WHERE event.company_id = %(company)s AND run.conversation_id = %(conversation)s"
        " AND event.kind IN ('tool_asked', 'tool_decided', 'tool_output', 'tool_result', 'run_failed', 'run_stopped')"
        " ORDER BY run.created_at, event.run_id, event.sequence LIMIT 3000",
        {"company": scope.company, "conversation": conversation_id},
    )


# ── Tool calls ─────────────────────────────────────────────────────────────────────────────────────────


async def begin_call(scope: Scope, run_row: Row, call_id: str, tool: str, arguments_sha256: str) -> bool:
    """Put the row before the effect. False: it is there already."""
    return bool(
        await scope.execute(
            "INSERT INTO agents.tool_calls (company_id, run_id, call_id, private_to, tool, arguments_sha256)"
            " VALUES (%(company)s, %(run)s, %(call)s, %(private_to)s, %(tool)s, %(sha256)s) ON CONFLICT DO NOTHING",
            {
                "company": scope.company,
                "run": run_row["id"],
                "call": call_id,
                "private_to": run_row["private_to"],
                "tool": tool,
                "sha256": arguments_sha256,
            },
        )
    )


async def finish_call(scope: Scope, run_id: UUID, call_id: str, result: dict[str, Any]) -> None:
    """Keep the result of a call."""
    await scope.execute(
        "UPDATE agents.tool_calls SET status = 'done', result = %(result)s, done_at = clock_timestamp()"
        " WHERE company_id = %(company)s AND run_id = %(run)s AND call_id = %(call)s AND status = 'started'",
        {"company": scope.company, "run": run_id, "call": call_id, "result": Jsonb(result)},
    )


async def add_egress_line(scope: Scope, run_row: Row, line: dict[str, Any]) -> None:
    """Keep what a request of this run did on the network."""
    await scope.execute(
        "INSERT INTO sandbox.egress_log (company_id, run_id, person_id, private_to, method, destination, address, outcome,"
        " bytes, milliseconds, purpose) VALUES (%(company)s, %(run)s, %(person)s, %(private_to)s, %(method)s,"
        " %(destination)s, %(address)s, %(outcome)s, %(bytes)s, %(milliseconds)s, %(purpose)s)",
        line
        | {
            "company": scope.company,
            "run": run_row["id"],
            "person": scope.actor.person_id,
            "private_to": run_row["private_to"],
        },
    )


# ── The dispatcher's role: ids and claims, no content ──────────────────────────────────────────────────


async def claim(connection: Connection, run_id: UUID) -> str | None:
    """Claim a run and return the claim's secret. None: it is over, or another worker has it."""
    cursor = await connection.execute("SELECT agents.claim_run(%(run)s) AS secret", {"run": run_id})
    row = await cursor.fetchone()
    return row["secret"] if row else None


async def keep_claim(connection: Connection, run_id: UUID, secret: str) -> tuple[bool, bool]:
    """Prolong a claim. Return whether it is held, and whether the run is to stop."""
    cursor = await connection.execute(
        "SELECT held, stop FROM agents.keep_claim(%(run)s, %(secret)s)", {"run": run_id, "secret": secret}
    )
    row = await cursor.fetchone()
    return (bool(row["held"]), bool(row["stop"])) if row else (False, False)


async def release_claim(connection: Connection, run_id: UUID, secret: str) -> None:
    """Give a claim back."""
    await connection.execute("SELECT agents.release_claim(%(run)s, %(secret)s)", {"run": run_id, "secret": secret})


async def abandon(connection: Connection, run_id: UUID, secret: str, why: str) -> None:
    """End a run for which no scope can be opened any more."""
    await connection.execute(
        "SELECT agents.abandon_run(%(run)s, %(secret)s, %(why)s)", {"run": run_id, "secret": secret, "why": why}
    )


async def rescue(connection: Connection) -> list[UUID]:
    """Queue the runs again whose worker went silent, and return their ids."""
    cursor = await connection.execute("SELECT agents.rescue_runs() AS id")
    return [row["id"] for row in await cursor.fetchall()]


async def message(scope: Scope, message_id: UUID) -> Row | None:
    """Return a message that the person of the scope can see."""
    return await scope.one(
        "SELECT id, conversation_id, body, author_kind, created_at FROM workspace.messages"
        " WHERE company_id = %(company)s AND id = %(id)s",
        {"company": scope.company, "id": message_id},
    )


async def earlier_messages(scope: Scope, run_row: Row) -> list[Row]:
    """Return what was said in a run's conversation before its own message, and answered to that, oldest first.

    An answer may have come after the message: the run waited for it.
    """
    return await scope.all(
        """
        SELECT author_kind, body FROM (
            SELECT said.author_kind, said.body, said.created_at
            FROM workspace.messages AS own JOIN workspace.messages AS said
                ON said.company_id = own.company_id AND said.conversation_id = own.conversation_id
            LEFT JOIN agents.runs AS answering ON answering.company_id = said.company_id AND answering.id = said.run_id
            LEFT JOIN workspace.messages AS asked
                ON asked.company_id = said.company_id AND asked.id = answering.message_id
            WHERE own.company_id = %(company)s AND own.id = %(message)s
              AND (CASE WHEN said.author_kind = 'agent' THEN asked.created_at < own.created_at
                        AND answering.queued_at < %(queued)s
                    ELSE said.created_at < own.created_at END)
            ORDER BY said.created_at DESC LIMIT 20) AS latest
        ORDER BY created_at
        """,
        {"company": scope.company, "message": run_row["message_id"], "queued": run_row["queued_at"]},
    )


async def done_before(scope: Scope, run_id: UUID, tool: str, arguments_sha256: str, *, failures_too: bool) -> bool:
    """Tell whether one of the runs that this one repeats has done exactly this, or may have.

    `failures_too`: one that has failed may have happened as well.
    """
    row = await scope.one(
        """
        WITH RECURSIVE line AS (
            SELECT run.company_id, run.id, run.retry_of FROM agents.runs AS run
            WHERE run.company_id = %(company)s AND run.id = %(run)s
            UNION
            SELECT earlier.company_id, earlier.id, earlier.retry_of
            FROM line JOIN agents.runs AS earlier ON earlier.company_id = line.company_id AND earlier.id = line.retry_of
        )
        SELECT FROM line JOIN agents.tool_calls AS called ON called.company_id = line.company_id AND called.run_id = line.id
        WHERE line.id <> %(run)s AND called.tool = %(tool)s AND called.arguments_sha256 = %(sha256)s
          AND (%(failures_too)s OR coalesce(called.result ->> 'failed', 'false') <> 'true') LIMIT 1
        """,
        {
            "company": scope.company,
            "run": run_id,
            "tool": tool,
            "sha256": arguments_sha256,
            "failures_too": failures_too,
        },
    )
    return row is not None
