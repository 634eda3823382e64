"""The policy check on everything around the tables: roles, owners, schemas, and what runs or copies rows by itself."""

from collections.abc import Iterator

from operalta.db.catalogue import SERVING, Catalogue, Check, Gap
from operalta.db.declared_grants import SCHEMAS

# Public linters skip schemas of these names, because one hosting platform keeps its own things there.
_SKIPPED_BY_LINTERS = ("auth", "extensions", "storage", "vault")
TRIGGERS = frozenset(
    {
        ("agents.agents", "keep_first_version"),
        ("agents.agents", "keep_version"),
        ("agents.run_events", "announce"),
        ("agents.model_requests", "count_vain_request"),
        ("agents.run_events", "count_use"),
        ("agents.runs", "stop_child_runs"),
        ("agents.runs", "wake_parent_run"),
        ("agents.runs", "begin_next_run"),
        ("agents.runs", "end_questions"),
        ("audit.events", "deliver_event"),
        ("identity.passwords", "end_revoked_work"),
        ("identity.sessions", "end_revoked_work"),
        ("jobs.procrastinate_jobs", "procrastinate_jobs_notify_queue_job_aborted_v1"),
        ("jobs.procrastinate_jobs", "procrastinate_jobs_notify_queue_job_inserted_v1"),
        ("jobs.procrastinate_jobs", "procrastinate_trigger_abort_requested_events_v1"),
        ("jobs.procrastinate_jobs", "procrastinate_trigger_delete_jobs_v1"),
        ("jobs.procrastinate_jobs", "procrastinate_trigger_scheduled_events_v1"),
        ("jobs.procrastinate_jobs", "procrastinate_trigger_status_events_insert_v1"),
        ("jobs.procrastinate_jobs", "procrastinate_trigger_status_events_update_v1"),
        ("tenancy.memberships", "end_keys_of_former_member"),
        ("tenancy.memberships", "end_connections_of_former_member"),
        ("tenancy.memberships", "end_schedules_of_former_member"),
        ("tenancy.memberships", "end_webhooks_of_former_member"),
        ("tenancy.memberships", "end_work_of_former_member"),
        ("tenancy.memberships", "keep_a_founder"),
        ("tenancy.memberships", "stop_integrations_of_former_member"),
        ("workspace.artifacts", "keep_first_version"),
        ("workspace.artifacts", "keep_version"),
    }
)
"""Every trigger there is. One runs whenever anybody writes, and could copy what it sees to where others read."""

_ROLES = """
    SELECT wanted.name AS place, role.rolname IS NOT NULL AS present,
        coalesce(role.rolsuper OR role.rolbypassrls OR role.rolcreaterole OR role.rolcreatedb OR role.rolreplication,
            false) AS mighty,
        coalesce(role.rolcanlogin, false) AS can_connect
    FROM unnest(%(serving)s::text[] || %(definer)s::text) AS wanted (name)
    LEFT JOIN pg_catalog.pg_roles AS role ON role.rolname = wanted.name ORDER BY 1
"""
# Before PostgreSQL 16 a membership has neither option: the member can become the role.
_MEMBERSHIPS = """
    SELECT held.rolname AS held, member.rolname AS member,
        bool_or((to_jsonb(link) ->> 'inherit_option')::boolean) AS inherits,
        coalesce(bool_or((to_jsonb(link) ->> 'set_option')::boolean), true) AS becomes
    FROM pg_catalog.pg_auth_members AS link JOIN pg_catalog.pg_roles AS held ON held.oid = link.roleid
    JOIN pg_catalog.pg_roles AS member ON member.oid = link.member
    WHERE member.rolname = ANY (%(serving)s) OR member.rolname = %(definer)s
        OR held.rolname = ANY (%(serving)s) OR held.rolname = %(definer)s
    GROUP BY 1, 2 ORDER BY 1, 2
"""
_SETTINGS = """
    SELECT coalesce(role.rolname, 'every role') AS place, base.datname AS base, setting.name AS setting
    FROM pg_catalog.pg_db_role_setting AS stored LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = stored.setrole
    LEFT JOIN pg_catalog.pg_database AS base ON base.oid = stored.setdatabase
    CROSS JOIN LATERAL unnest(stored.setconfig) AS setting (name)
    WHERE (stored.setrole = 0 OR role.rolname = ANY (%(ours)s))
      AND (stored.setdatabase = 0 OR base.datname = current_database()) ORDER BY 1, 2, 3
"""
_OWNERS = """
    SELECT space.nspname || '.' || class.relname AS place, owner.rolname AS owner
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_roles AS owner ON owner.oid = class.relowner
    WHERE space.nspname = ANY (%(schemas)s) AND class.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND owner.rolname <> %(owner)s
    UNION ALL
    SELECT space.nspname::text, owner.rolname FROM pg_catalog.pg_namespace AS space
    JOIN pg_catalog.pg_roles AS owner ON owner.oid = space.nspowner
    WHERE space.nspname = ANY (%(schemas)s) AND owner.rolname <> %(owner)s
    UNION ALL
    SELECT 'large object ' || kept.oid, owner.rolname FROM pg_catalog.pg_largeobject_metadata AS kept
    JOIN pg_catalog.pg_roles AS owner ON owner.oid = kept.lomowner
    ORDER BY 1, 2
"""
_SCHEMAS = """
    SELECT space.nspname AS place, space.nspname = ANY (%(schemas)s) AS ours FROM pg_catalog.pg_namespace AS space
    WHERE space.nspname = ANY (%(schemas)s) OR space.nspname IN ('auth', 'extensions', 'storage', 'vault') ORDER BY 1
"""
# Extensions that lie there are out of everybody's reach as long as nobody may use the schema.
_IN_PUBLIC = """
    SELECT 'public.' || class.relname AS place FROM pg_catalog.pg_class AS class
    WHERE class.relnamespace = to_regnamespace('public') AND class.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND class.relname <> 'alembic_version' AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS part
        WHERE part.classid = 'pg_class'::regclass AND part.objid = class.oid AND part.deptype = 'e')
    UNION ALL
    SELECT function.oid::regprocedure::text FROM pg_catalog.pg_proc AS function
    WHERE function.pronamespace = to_regnamespace('public') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend AS part
        WHERE part.classid = 'pg_proc'::regclass AND part.objid = function.oid AND part.deptype = 'e')
    ORDER BY 1
"""
_TRIGGERS = """
    SELECT space.nspname || '.' || class.relname AS place, trigger.tgname AS trigger, trigger.tgisinternal AS internal,
        trigger.tgenabled::text AS fires
    FROM pg_catalog.pg_trigger AS trigger JOIN pg_catalog.pg_class AS class ON class.oid = trigger.tgrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = ANY (%(schemas)s) AND trigger.tgparentid = 0 ORDER BY 1, 2
"""
_RULES = """
    SELECT space.nspname || '.' || class.relname AS place, rule.rulename AS rule
    FROM pg_catalog.pg_rewrite AS rule JOIN pg_catalog.pg_class AS class ON class.oid = rule.ev_class
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = ANY (%(schemas)s) AND NOT (rule.rulename = '_RETURN' AND class.relkind IN ('v', 'm'))
    ORDER BY 1, 2
"""
# An extension brings functions that everybody may execute; out of reach are those in schemas nobody may use.
_COPIERS = """
    SELECT 'event trigger' AS kind, watcher.evtname::text AS name FROM pg_catalog.pg_event_trigger AS watcher
    UNION ALL SELECT 'publication', publication.pubname::text FROM pg_catalog.pg_publication AS publication
    UNION ALL SELECT 'subscription', subscription.subname::text FROM pg_catalog.pg_subscription AS subscription
    JOIN pg_catalog.pg_database AS base ON base.oid = subscription.subdbid AND base.datname = current_database()
    UNION ALL SELECT 'extension', extension.extname::text FROM pg_catalog.pg_extension AS extension
    WHERE extension.extname <> 'plpgsql' AND EXISTS (SELECT FROM pg_catalog.pg_roles AS role
        WHERE role.rolname = ANY (%(serving)s) AND has_schema_privilege(role.oid, extension.extnamespace, 'USAGE'))
    ORDER BY 1, 2
"""
_COPIER_FAULTS = {
    "event trigger": "it runs at every change of the schema, with the rights of whoever makes it",
    "publication": "it sends rows out past every policy",
    "subscription": "it writes rows past every policy",
    "extension": "it brings functions that every role may execute, where serving roles can reach them",
}


def roles(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield roles that are missing, that can do more than they should by what they are, or by what they belong to."""
    definer = catalogue.names["definer"]
    for row in catalogue.rows(_ROLES):
        if not row["present"]:
            yield Gap(row["place"], "the role is not there", "operalta migrate makes it")
        if row["mighty"]:
            yield Gap(
                row["place"],
                "the role can pass row security, copy the server or make roles",
                "ALTER ROLE … NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOCREATEDB NOREPLICATION",
            )
        if row["place"] == definer and row["can_connect"]:
            yield Gap(row["place"], "somebody can connect as it", "ALTER ROLE … NOLOGIN")
    for row in catalogue.rows(_MEMBERSHIPS):
        # Who makes a role may hand it on. The owner becomes the definer, to give it functions, and nobody else does.
        if row["member"] not in {*SERVING, definer} and not row["inherits"] and not row["becomes"]:
            continue
        if (row["member"], row["held"]) == (catalogue.owner, definer) and not row["inherits"]:
            continue
        yield Gap(
            row["held"],
            f"{row['member']} {'has its rights' if row['inherits'] else 'can become it'}",
            f"REVOKE {row['held']} FROM {row['member']}",
        )


def stored_settings(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield settings that are stored for one of our roles or for the database: they reach every later session."""
    for row in catalogue.rows(_SETTINGS):
        where = f" in {row['base']}" if row["base"] else ""
        yield Gap(
            row["place"],
            f"a setting is stored{where}: {row['setting']}",
            "ALTER ROLE … RESET ALL, or ALTER DATABASE … RESET ALL; what is needed is given at connection start",
        )


def owners(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield what does not belong to the owner of the schemas: its owner may change it and pass its policies."""
    for row in catalogue.rows(_OWNERS):
        if row["place"].startswith("large object "):
            yield Gap(row["place"], f"{row['owner']} keeps data outside every policy", "SELECT lo_unlink(…)")
        else:
            yield Gap(row["place"], f"it belongs to {row['owner']}", f"ALTER … OWNER TO {catalogue.owner}")


def schemas(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield schemas that nobody declared, that are missing, or that public linters skip."""
    found: set[str] = set()
    for row in catalogue.rows(_SCHEMAS):
        found.add(row["place"])
        if row["place"] in _SKIPPED_BY_LINTERS:
            yield Gap(row["place"], "public linters skip a schema of this name", "call it otherwise")
        elif row["place"] not in SCHEMAS:
            yield Gap(row["place"], "nobody declared this schema", "name it in db/declared_grants.py, or DROP SCHEMA")
    for row in catalogue.rows(_IN_PUBLIC):
        yield Gap(
            row["place"],
            "schema public is for the number of the last migration alone",
            "make it in a schema that is declared, or ALTER … SET SCHEMA",
        )
    for name in sorted(set(SCHEMAS) - found):
        yield Gap(name, "the schema is not there", "CREATE SCHEMA in a migration, or take it out of declared_grants.py")


def triggers(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield triggers that are not in the closed list, or are switched off; and rules, which rewrite queries."""
    found: set[tuple[str, str]] = set()
    for row in catalogue.rows(_TRIGGERS):
        if row["fires"] != "O":
            what = "a foreign key's trigger" if row["internal"] else f"trigger {row['trigger']}"
            yield Gap(row["place"], f"{what} is not in force as usual", "ALTER TABLE … ENABLE TRIGGER ALL")
        if row["internal"]:
            continue
        found.add((row["place"], row["trigger"]))
        if (row["place"], row["trigger"]) not in TRIGGERS:
            yield Gap(
                row["place"],
                f"trigger {row['trigger']} is not declared",
                "review what it reads and writes, and name it in db/policy_surroundings.py",
            )
    for place, trigger in sorted(TRIGGERS - found):
        yield Gap(place, f"trigger {trigger} is not there", "CREATE TRIGGER, or take it off the list")
    for row in catalogue.rows(_RULES):
        yield Gap(row["place"], f"rule {row['rule']} rewrites queries", "DROP RULE; use a trigger or a function")


def copiers(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield what carries rows or functions past the policies: publications, extensions and the like."""
    for row in catalogue.rows(_COPIERS):
        kind: str = row["kind"]
        yield Gap(f"{kind} {row['name']}", _COPIER_FAULTS[kind], f"DROP {kind.upper()}")


def large_objects(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield where every role could read every large object."""
    (row,) = catalogue.rows("SELECT current_setting('lo_compat_privileges') AS value, current_database()::text AS base")
    if row["value"] != "off":
        yield Gap(row["base"], "every role may read every large object", "set lo_compat_privileges to off")


CHECKS: tuple[Check, ...] = (roles, stored_settings, owners, schemas, triggers, copiers, large_objects)
