"""The SQL of the probes of agents: looking, as the owner, at what runs leave."""

import psycopg

from operalta.assurance.probes.store import Probed, only
from operalta.db.scope import Row


async def status_of_run(connection: Probed, run: str) -> str:
    """Return where a run stands; nothing where there is none."""
    cursor = await connection.execute("SELECT status FROM agents.runs WHERE id = %s", (run,))
    row = await cursor.fetchone()
    return "" if row is None else str(row["status"])


async def put_route(connection: Probed, company: str, slug: str, record: str, region: str) -> None:
    """Have a company allow a route, and its agents take it, whatever may be allowed."""
    await connection.execute(
        "WITH founder AS (SELECT company_id, person_id FROM tenancy.memberships WHERE company_id = %(company)s AND role = 'founder'"
        " LIMIT 1), region AS (INSERT INTO agents.allowed_regions (company_id, region, allowed_by)"
        " SELECT company_id, %(region)s, person_id FROM founder ON CONFLICT DO NOTHING)"
        " INSERT INTO agents.allowed_routes (company_id, slug, record_sha256, allowed_by)"
        " SELECT company_id, %(slug)s, %(record)s, person_id FROM founder",
        {"company": company, "slug": slug, "record": record, "region": region},
    )
    await take_route(connection, company, slug)


async def take_route(connection: Probed, company: str, slug: str) -> None:
    """Have a company's agents take a route, whatever may be taken."""
    await connection.execute("UPDATE agents.agents SET route = %s WHERE company_id = %s", (slug, company))


async def jobs_of_run(connection: Probed, run: str) -> list[str]:
    """Return the queue's jobs for a run, each with everything that it carries."""
    cursor = await connection.execute(
        "SELECT job::text AS text FROM jobs.procrastinate_jobs AS job WHERE job.args ->> 'subject' = %s", (run,)
    )
    return [row["text"] for row in await cursor.fetchall()]


async def steps_of_run(connection: Probed, run: str) -> list[str]:
    """Return the kinds of a run's steps, the first first."""
    cursor = await connection.execute("SELECT kind FROM agents.run_events WHERE run_id = %s ORDER BY sequence", (run,))
    return [row["kind"] for row in await cursor.fetchall()]


async def steps_below(connection: Probed, run: str) -> list[Row]:
    """Return the kinds and bodies of the steps of the runs that a run began."""
    cursor = await connection.execute(
        "SELECT event.kind, event.body FROM agents.runs AS below JOIN agents.run_events AS event"
        " ON event.company_id = below.company_id AND event.run_id = below.id WHERE below.parent_run_id = %s"
        " ORDER BY event.run_id, event.sequence",
        (run,),
    )
    return await cursor.fetchall()


# ── As the role that runs work with ───────────────────────────────────────────────────────────────────


async def elevated_functions(connection: Probed) -> tuple[int, list[str]]:
    """Return how many elevated functions there are, and those that the connection's role may execute."""
    cursor = await connection.execute(
        "SELECT function.proname AS name, has_schema_privilege('elevated', 'USAGE')"
        " OR has_function_privilege(function.oid, 'EXECUTE') AS may FROM pg_catalog.pg_proc AS function"
        " JOIN pg_catalog.pg_namespace AS space ON space.oid = function.pronamespace AND space.nspname = 'elevated'"
    )
    rows = await cursor.fetchall()
    return len(rows), sorted(row["name"] for row in rows if row["may"])


async def try_elevated(connection: Probed) -> str:
    """Call an elevated function that takes no id; return what refused it, or that it was done."""
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute("SELECT * FROM elevated.unsealed_events(1)")
    except psycopg.Error as error:
        return type(error).__name__
    return "done"


async def try_role(connection: Probed, role: str) -> bool:
    """Tell whether the connection can take another role."""
    try:
        async with connection.transaction(force_rollback=True):
            await connection.execute("SELECT set_config('role', %s, true)", (role,))
    except psycopg.Error:
        return False
    return True


async def elevated_uses(connection: Probed) -> tuple[int, int]:
    """Return how many events of the audit log are of runs, and how many of those tell of an elevated use."""
    cursor = await connection.execute(
        "SELECT count(*) AS runs, count(*) FILTER (WHERE starts_with(action, 'elevated.')) AS elevated"
        " FROM audit.events WHERE actor_run_id IS NOT NULL"
    )
    row = await only(cursor)
    return row["runs"], row["elevated"]
