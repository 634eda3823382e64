"""The SQL of the probes: looking as the owner, trying as the serving roles, and moving time in the throw-away's rows."""

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection, AsyncCursor, sql

from operalta.db.scope import Row

Probed = AsyncConnection[Any]


# ── Looking, as the owner ─────────────────────────────────────────────────────────────────────────────


async def password_hashes(connection: Probed) -> list[Row]:
    """Return what is stored of every password, of waiting sign-ups too."""
    cursor = await connection.execute(
        "SELECT scheme, hash FROM identity.passwords UNION ALL SELECT scheme, hash FROM identity.pending_sign_ups"
    )
    return await cursor.fetchall()


async def search_all_tables(connection: Probed, patterns: Sequence[str]) -> tuple[int, int]:
    """Return how many rows all tables have, and how many of them have a text that fits one of the expressions."""
    rows, hits = await search_each_table(connection, patterns)
    return rows, sum(hits.values())


async def search_each_table(connection: Probed, patterns: Sequence[str]) -> tuple[int, dict[str, int]]:
    """Return how many rows all tables have, and the tables that hold such a text, with how many rows do."""
    cursor = await connection.execute(
        "SELECT space.nspname, class.relname FROM pg_catalog.pg_class AS class"
        " JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace"
        " WHERE class.relkind IN ('r', 'p') AND space.nspname NOT IN ('pg_catalog', 'information_schema')"
    )
    rows: int = 0
    hits: dict[str, int] = {}
    for table in await cursor.fetchall():
        query = sql.SQL(
            "SELECT count(*) AS rows, count(*) FILTER (WHERE looked::text ~ ANY (%s::text[])) AS hits FROM {} AS looked"
        ).format(sql.Identifier(table["nspname"], table["relname"]))
        found = await only(await connection.execute(query, (list(patterns),)))
        rows += found["rows"]
        if found["hits"]:
            hits[f"{table['nspname']}.{table['relname']}"] = found["hits"]
    return rows, hits


async def company_tables(connection: Probed) -> list[Row]:
    """Return every table of a company's data, whether row security is on and forced, and which verbs have policies."""
    cursor = await connection.execute(
        "SELECT space.nspname, class.relname, class.relrowsecurity AND class.relforcerowsecurity AS guarded,"
        " (SELECT count(*) FROM pg_catalog.pg_policy AS policy WHERE policy.polrelid = class.oid) AS policies"
        " FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace"
        " JOIN pg_catalog.pg_attribute AS company ON company.attrelid = class.oid AND company.attname = 'company_id'"
        " AND NOT company.attisdropped WHERE class.relkind IN ('r', 'p') ORDER BY 1, 2"
    )
    return await cursor.fetchall()


async def write_rules(connection: Probed) -> list[Row]:
    """Return the rules of every write policy that serves a company's data."""
    cursor = await connection.execute(
        "SELECT space.nspname || '.' || class.relname AS place, policy.polname AS policy, policy.polcmd::text AS verb,"
        " coalesce(pg_get_expr(policy.polqual, policy.polrelid), '') AS read_rule,"
        " coalesce(pg_get_expr(policy.polwithcheck, policy.polrelid), '') AS write_rule"
        " FROM pg_catalog.pg_policy AS policy JOIN pg_catalog.pg_class AS class ON class.oid = policy.polrelid"
        " JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace"
        " JOIN pg_catalog.pg_attribute AS company ON company.attrelid = class.oid AND company.attname = 'company_id'"
        " AND NOT company.attisdropped"
        " WHERE policy.polcmd <> 'r' AND EXISTS (SELECT FROM pg_catalog.pg_roles AS role"
        " WHERE role.rolname IN ('operalta_web', 'operalta_worker') AND policy.polroles @> ARRAY[role.oid])"
    )
    return await cursor.fetchall()


async def membership_function(connection: Probed) -> Row | None:
    """Return how the function that write policies call is made."""
    cursor = await connection.execute(
        "SELECT function.prosecdef AS definer, coalesce(function.proconfig, '{}') AS pinned,"
        " has_function_privilege('public', function.oid, 'EXECUTE') AS for_public"
        " FROM pg_catalog.pg_proc AS function"
        " WHERE function.oid = to_regprocedure('scope.is_company_member_with_role(uuid, text[])')"
    )
    return await cursor.fetchone()


async def role_permissions(connection: Probed) -> list[tuple[str, str, str]]:
    """Return the database's copy of the role templates, sorted."""
    cursor = await connection.execute("SELECT company_kind, role, permission FROM access.role_permissions")
    return sorted((row["company_kind"], row["role"], row["permission"]) for row in await cursor.fetchall())


async def count_of_company(connection: Probed, schema: str, table: str, company: str) -> int:
    """Return how many rows of a company the connection sees in a table. Raise a database error where it may not look."""
    query = sql.SQL("SELECT count(*) AS seen FROM {} WHERE company_id = %s").format(sql.Identifier(schema, table))
    return (await only(await connection.execute(query, (company,))))["seen"]


async def membership_role(connection: Probed, company: str, email: str) -> str | None:
    """Return the role that somebody holds in a company now."""
    cursor = await connection.execute(
        "SELECT membership.role FROM tenancy.memberships AS membership"
        " JOIN identity.people AS person ON person.id = membership.person_id"
        " WHERE membership.company_id = %s AND person.email = %s AND membership.ended_at IS NULL",
        (company, email),
    )
    row = await cursor.fetchone()
    return None if row is None else row["role"]


async def count_records(connection: Probed, company: str, title: str) -> int:
    """Return how many entries of a company's memory have this title."""
    cursor = await connection.execute(
        "SELECT count(*) AS seen FROM workspace.records WHERE company_id = %s AND title = %s", (company, title)
    )
    return (await only(cursor))["seen"]


async def run_events_holding(connection: Probed, company: str, text: str) -> tuple[int, int]:
    """Return how many steps of a company's runs there are, and how many hold a text."""
    cursor = await connection.execute(
        "SELECT count(*) AS steps, count(*) FILTER (WHERE strpos(body::text, %s) > 0) AS hits"
        " FROM agents.run_events WHERE company_id = %s",
        (text, company),
    )
    row = await only(cursor)
    return row["steps"], row["hits"]


async def egress_lines(connection: Probed, company: str) -> list[Row]:
    """Return the lines of a company's egress log, the oldest first."""
    cursor = await connection.execute(
        "SELECT run_id::text AS run, destination, address, outcome, bytes FROM sandbox.egress_log"
        " WHERE company_id = %s ORDER BY at, id",
        (company,),
    )
    return await cursor.fetchall()


async def unsealed_events(connection: Probed) -> int:
    """Return how many events of the audit log wait to be sealed."""
    cursor = await connection.execute("SELECT count(*) AS waiting FROM audit.events WHERE leaf_index IS NULL")
    return (await only(cursor))["waiting"]


async def only(cursor: AsyncCursor[Any]) -> Row:
    """Return the one row of a query that always has one."""
    row: Row | None = await cursor.fetchone()
    if row is None:
        raise LookupError("a count has one row")
    return row


# ── Trying, as a serving role ─────────────────────────────────────────────────────────────────────────


async def open_scope(connection: Probed, secret: str, company: str) -> None:
    """Open a scope in the present transaction as the web process does."""
    await connection.execute("SELECT * FROM scope.open_scope(%s, %s)", (secret, company))


async def forge_scope(connection: Probed, says: str) -> None:
    """Write a scope of one's own into the present transaction."""
    await connection.execute("SELECT set_config('operalta.scope', %s, true)", (says,))


async def current_scope(connection: Probed) -> str:
    """Return the scope's text as the connection holds it."""
    cursor = await connection.execute("SELECT current_setting('operalta.scope', true) AS says")
    return (await only(cursor))["says"] or ""


async def permissions_by_database(connection: Probed, wanted: Sequence[str]) -> list[str]:
    """Return which of the permissions the database alone grants to the open scope."""
    cursor = await connection.execute(
        "SELECT permission FROM unnest(%s::text[]) AS permission WHERE scope.may(permission) ORDER BY 1",
        (list(wanted),),
    )
    return [row["permission"] for row in await cursor.fetchall()]


async def try_update(connection: Probed, schema: str, table: str, company: str) -> str:
    """Try to change a company's rows through whatever column may be changed; return what came of it."""
    cursor = await connection.execute(
        "SELECT attribute.attname FROM pg_catalog.pg_attribute AS attribute"
        " JOIN pg_catalog.pg_class AS class ON class.oid = attribute.attrelid AND class.relname = %s"
        " JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace AND space.nspname = %s"
        " WHERE attribute.attnum > 0 AND NOT attribute.attisdropped"
        " AND has_column_privilege(class.oid, attribute.attnum, 'UPDATE') LIMIT 1",
        (table, schema),
    )
    row = await cursor.fetchone()
    if row is None:
        return "no right"
    column = sql.Identifier(row["attname"])
    query = sql.SQL("UPDATE {} SET {} = {} WHERE company_id = %s").format(sql.Identifier(schema, table), column, column)
    return await _touched(connection, query, company)


async def try_delete(connection: Probed, schema: str, table: str, company: str) -> str:
    """Try to remove a company's rows; return what came of it."""
    query = sql.SQL("DELETE FROM {} WHERE company_id = %s").format(sql.Identifier(schema, table))
    return await _touched(connection, query, company)


async def try_record(connection: Probed, company: str, person: str) -> str:
    """Try to add an entry to a company's memory; return what came of it."""
    query = sql.SQL(
        "INSERT INTO workspace.records (company_id, id, kind, title, status, owner_id, recorded_by)"
        " VALUES (%s, gen_random_uuid(), 'decision', 'forged', 'made', %s, %s)"
    )
    return await _touched(connection, query, company, person, person)


async def try_promotion(connection: Probed, company: str, person: str) -> str:
    """Try to make a member a founder; return what came of it."""
    query = sql.SQL("UPDATE tenancy.memberships SET role = 'founder' WHERE company_id = %s AND person_id = %s")
    return await _touched(connection, query, company, person)


async def _touched(connection: Probed, query: sql.SQL | sql.Composed, *parameters: str) -> str:
    """Run a statement that must have no effect, behind a savepoint; return `0 rows`, `n rows` or `refused`."""
    try:
        async with connection.transaction(force_rollback=True):
            cursor = await connection.execute(query, parameters)
            return f"{max(cursor.rowcount, 0)} rows"
    except psycopg.Error as error:
        return f"refused: {type(error).__name__}"


# ── Moving time and tampering, in the throw-away alone ────────────────────────────────────────────────


async def age_sessions(connection: Probed, email: str, seconds: int) -> int:
    """Move everything that a person's live sessions know of time back; return how many there are."""
    cursor = await connection.execute(
        "UPDATE identity.sessions AS session SET created_at = session.created_at - shift.by, last_seen_at ="
        " session.last_seen_at - shift.by, rotated_at = session.rotated_at - shift.by, idle_expires_at ="
        " session.idle_expires_at - shift.by, absolute_expires_at = session.absolute_expires_at - shift.by"
        " FROM (SELECT make_interval(secs => %s) AS by) AS shift, identity.people AS person"
        " WHERE person.id = session.person_id AND person.email = %s AND session.ended_at IS NULL",
        (seconds, email),
    )
    return cursor.rowcount


async def live_sessions(connection: Probed, email: str) -> list[Row]:
    """Return a person's sessions that have not ended, with the seconds until they do by themselves."""
    cursor = await connection.execute(
        "SELECT session.id, session.counter, extract(epoch FROM session.idle_expires_at - now())::float AS seconds"
        " FROM identity.sessions AS session JOIN identity.people AS person ON person.id = session.person_id"
        " WHERE person.email = %s AND session.ended_at IS NULL",
        (email,),
    )
    return await cursor.fetchall()


async def take_tool_setting(connection: Probed, company: str, tool: str) -> None:
    """Take every mention of a tool out of the settings of a company's agents."""
    await connection.execute("UPDATE agents.agents SET tools = tools - %s WHERE company_id = %s", (tool, company))


async def put_tool_setting(connection: Probed, company: str, tool: str, decision: str) -> None:
    """Set what a company's agents may do with a tool."""
    await connection.execute(
        "UPDATE agents.agents SET tools = jsonb_set(tools, ARRAY[%s], to_jsonb(%s::text)) WHERE company_id = %s",
        (tool, decision, company),
    )


async def edit_an_event(connection: Probed) -> Row | None:
    """Change the outcome of one sealed event as a superuser could; return what it was."""
    await connection.execute("SET session_replication_role = replica")
    cursor = await connection.execute(
        "UPDATE audit.events AS event SET target_kind = 'edited' FROM (SELECT id, target_kind FROM audit.events"
        " WHERE leaf_index IS NOT NULL ORDER BY leaf_index LIMIT 1) AS before WHERE event.id = before.id"
        " RETURNING event.id, before.target_kind"
    )
    return await cursor.fetchone()


async def restore_event(connection: Probed, event: Row) -> None:
    """Put back what `edit_an_event` changed."""
    await connection.execute("SET session_replication_role = replica")
    await connection.execute(
        "UPDATE audit.events SET target_kind = %s WHERE id = %s", (event["target_kind"], event["id"])
    )


async def break_metrics(connection: Probed) -> None:
    """Take a table away, so that whatever reads it fails inside."""
    await connection.execute("ALTER TABLE workspace.metrics RENAME TO metrics_out_of_place")


async def mend_metrics(connection: Probed) -> None:
    """Put the table back."""
    await connection.execute("ALTER TABLE IF EXISTS workspace.metrics_out_of_place RENAME TO metrics")


def bring_novelties(connection: psycopg.Connection[Any]) -> None:
    """Make a table, a view and a definer function that no policy covers, in the present transaction."""
    connection.execute("CREATE TABLE workspace.verify_novelty (company_id uuid NOT NULL, note text)")
    connection.execute("GRANT SELECT ON workspace.verify_novelty TO operalta_web")
    connection.execute("CREATE VIEW workspace.verify_view AS SELECT id FROM tenancy.companies")
    connection.execute(
        "CREATE FUNCTION workspace.verify_function() RETURNS integer LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"
    )
