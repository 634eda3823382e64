"""The SQL of the probes of agents: looking, as the owner, at what runs leave."""

from operalta.assurance.probes.store import Probed


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
