"""Mutants of functions and grants."""

from collections.abc import Iterator

from operalta.db.catalogue import Catalogue
from operalta.db.elevated_flows import FLOWS
from operalta.db.policy_functions import PINNED
from operalta.db.policy_grants import Grant, declared
from tests.db.mutants import AS_DEFINER, UNDECLARED, Mutant, batch, functions, rows, superusers, tables

_AS = {True: AS_DEFINER, False: "{}"}


# ── Functions ─────────────────────────────────────────────────────────────────────────────────────────
@batch
def unpinned(catalogue: Catalogue) -> Iterator[Mutant]:
    for number, function in enumerate(functions(catalogue)):
        if function["definer"]:
            setting = PINNED[number % len(PINNED)]
            sql = f"ALTER FUNCTION {function['call']} RESET {setting.partition('=')[0]}"
            yield Mutant(AS_DEFINER.format(sql), function["call"], f"{setting} is not pinned")


@batch
def search_path_open(catalogue: Catalogue) -> Iterator[Mutant]:
    for function in functions(catalogue):
        sql = f"ALTER ROUTINE {function['call']} SET search_path = public"
        fault = 'search_path="" is not pinned' if function["definer"] else "caller's search path"
        if function["definer"] or function["schema"] != "scope":
            yield Mutant(_AS[function["definer"]].format(sql), function["call"], fault)


@batch
def other_settings(catalogue: Catalogue) -> Iterator[Mutant]:
    for function in functions(catalogue):
        sql = f"ALTER ROUTINE {function['call']} SET row_security = off"
        yield Mutant(_AS[function["definer"]].format(sql), function["call"], "it runs with row_security=off")


@superusers
def owners_of_functions(catalogue: Catalogue) -> Iterator[Mutant]:
    for function in functions(catalogue):
        fault = "it runs with the rights of postgres" if function["definer"] else "it belongs to postgres"
        yield Mutant(f"ALTER ROUTINE {function['call']} OWNER TO postgres", function["call"], fault)


@batch
def executed_by_everybody(catalogue: Catalogue) -> Iterator[Mutant]:
    for function in functions(catalogue):
        sql = f"GRANT EXECUTE ON ROUTINE {function['call']} TO PUBLIC"
        yield Mutant(_AS[function["definer"]].format(sql), function["place"], f"every role holds EXECUTE, {UNDECLARED}")


@batch
def executed_by_another_role(catalogue: Catalogue) -> Iterator[Mutant]:
    for function in functions(catalogue):
        sql = f"GRANT EXECUTE ON ROUTINE {function['call']} TO operalta_backup WITH GRANT OPTION"
        made = _AS[function["definer"]].format(sql)
        yield Mutant(made, function["place"], f"operalta_backup holds EXECUTE, {UNDECLARED}")
        yield Mutant("", function["place"], "operalta_backup may pass EXECUTE on")


@batch
def executed_by_nobody(catalogue: Catalogue) -> Iterator[Mutant]:
    held = rows(
        catalogue,
        """
        SELECT function.oid::regprocedure::text AS call, space.nspname || '.' || proname AS place, rolname AS role,
            prosecdef AS definer FROM pg_proc AS function
        JOIN pg_namespace AS space ON space.oid = pronamespace CROSS JOIN LATERAL aclexplode(proacl) AS granted
        JOIN pg_roles AS role ON role.oid = granted.grantee
        WHERE pg_get_userbyid(proowner) IN ('operalta_owner', 'operalta_definer') AND grantee <> proowner
          AND rolname <> 'operalta_definer'
        """,
    )
    for grant in held:
        if Grant(grant["role"], "FUNCTION", grant["place"], "EXECUTE") in declared(()):
            sql = f"REVOKE EXECUTE ON ROUTINE {grant['call']} FROM {grant['role']}"
            fault = f"{grant['role']} does not hold EXECUTE"
            yield Mutant(_AS[grant["definer"]].format(sql), grant["place"], fault)


BODIES = {
    "dynamic": ("BEGIN EXECUTE format('SELECT %I', given); END", "plpgsql", "it runs text as a query (execute)"),
    "loops": ("BEGIN FOR given IN EXECUTE given LOOP END LOOP; END", "plpgsql", "(execute)"),
    "hidden": ("BEGIN /* ' */ EXECUTE 'SELECT 1'; -- ' \n END", "plpgsql", "(execute)"),
    "xml": ("SELECT query_to_xml(given, true, true, '''')", "sql", "(query_to_xml)"),
    "whole": ("SELECT schema_to_xml(given, true, true, '''')", "sql", "(schema_to_xml)"),
}


@batch
def text_becomes_a_query(_: Catalogue) -> Iterator[Mutant]:
    for name, (body, language, fault) in BODIES.items():
        result = "xml" if language == "sql" else "void"
        yield Mutant(
            f"CREATE FUNCTION workspace.{name}(given text) RETURNS {result} LANGUAGE {language} SET search_path = ''"
            f" AS $mutant${body.replace(chr(39) * 4, chr(39) * 2)}$mutant$;"
            f" GRANT EXECUTE ON FUNCTION workspace.{name} TO operalta_web",
            f"workspace.{name}(text)",
            fault,
        )
    yield Mutant(
        "CREATE FUNCTION workspace.parsed(given text) RETURNS xml LANGUAGE sql STABLE"
        " RETURN query_to_xml(given, true, true, ''); GRANT EXECUTE ON FUNCTION workspace.parsed TO operalta_web",
        "workspace.parsed(text)",
        "(query_to_xml)",
    )
    yield Mutant(
        "CREATE FUNCTION workspace.mighty() RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS"
        " 'BEGIN EXECUTE ''SELECT 1''; END'",
        "workspace.mighty()",
        "(execute)",
    )


@batch
def functions_of_new_sorts(_: Catalogue) -> Iterator[Mutant]:
    yield Mutant(
        "CREATE FUNCTION workspace.loose() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM workspace.records'",
        "workspace.loose()",
        "caller's search path",
    )
    yield Mutant(
        "CREATE FUNCTION workspace.peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT count(*) FROM workspace.records'",
        "workspace.peek()",
        "it runs with the rights of operalta_owner",
    )
    yield Mutant(
        "CREATE FUNCTION scope.may(wanted text, really boolean) RETURNS boolean LANGUAGE sql RETURN true",
        "scope.may",
        "2 functions share this name",
    )
    yield Mutant(
        "CREATE FUNCTION helper() RETURNS integer LANGUAGE sql RETURN 1",
        "public.helper()",
        "schema public is for the number",
    )
    yield Mutant(
        "CREATE FUNCTION elevated.novelty() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT'",
        "elevated.novelty",
        "the closed list does not name",
    )


@superusers
def functions_of_a_superuser(_: Catalogue) -> Iterator[Mutant]:
    yield Mutant(
        "CREATE FUNCTION workspace.compiled(bigint) RETURNS text LANGUAGE internal AS 'int8out'",
        "workspace.compiled(bigint)",
        "its language is internal",
    )
    yield Mutant("ALTER FUNCTION scope.may(text) LEAKPROOF", "scope.may(text)", "it is marked leakproof")


@batch
def elevated_functions_gone(_: Catalogue) -> Iterator[Mutant]:
    for flow in FLOWS:
        yield Mutant(
            f"DROP FUNCTION elevated.{flow.function}",
            f"elevated.{flow.function}",
            "names an elevated function that is not there",
        )


# ── Grants ────────────────────────────────────────────────────────────────────────────────────────────
@batch
def granted_tables(catalogue: Catalogue) -> Iterator[Mutant]:
    verbs = ("TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN")
    for number, table in enumerate(tables(catalogue)):
        verb = verbs[number % len(verbs)]
        yield Mutant(
            f"GRANT {verb} ON {table['place']} TO operalta_web",
            table["place"],
            f"operalta_web holds {verb}, {UNDECLARED}",
        )
        yield Mutant(
            f"GRANT SELECT ON {table['place']} TO operalta_signin",
            table["place"],
            f"operalta_signin holds SELECT, {UNDECLARED}",
        )
        yield Mutant(
            f"GRANT SELECT ON {table['place']} TO PUBLIC", table["place"], f"every role holds SELECT, {UNDECLARED}"
        )


@batch
def granted_columns(catalogue: Catalogue) -> Iterator[Mutant]:
    for table in tables(catalogue):
        column = f'"{table["column"]}"'
        yield Mutant(
            f"GRANT UPDATE ({column}) ON {table['place']} TO operalta_job",
            table["place"],
            f"operalta_job holds UPDATE ({table['column']}), {UNDECLARED}",
        )
        yield Mutant("", table["place"], "operalta_job may UPDATE but no policy says which rows")


@batch
def revoked_tables(catalogue: Catalogue) -> Iterator[Mutant]:
    held = rows(
        catalogue,
        "SELECT class.oid::regclass::text AS place, privilege_type AS verb, rolname AS role FROM pg_class AS class"
        " CROSS JOIN LATERAL aclexplode(relacl) AS granted JOIN pg_roles AS role ON role.oid = granted.grantee"
        " WHERE relowner = 'operalta_owner'::regrole AND grantee <> relowner AND relkind IN ('r', 'S')",
    )
    for grant in held:
        kind = "SEQUENCE" if grant["place"].endswith("_id_seq") else "TABLE"
        yield Mutant(
            f"REVOKE {grant['verb']} ON {kind} {grant['place']} FROM {grant['role']}",
            grant["place"],
            f"{grant['role']} does not hold {grant['verb']}, which is declared",
        )


@batch
def granted_schemas(catalogue: Catalogue) -> Iterator[Mutant]:
    for schema in catalogue.schemas:
        for role, told in (("operalta_backup", "operalta_backup"), ("PUBLIC", "every role")):
            yield Mutant(f"GRANT USAGE ON SCHEMA {schema} TO {role}", schema, f"{told} holds USAGE, {UNDECLARED}")
        yield Mutant(f"GRANT CREATE ON SCHEMA {schema} TO operalta_web", schema, "operalta_web holds CREATE")


@batch
def other_grants(catalogue: Catalogue) -> Iterator[Mutant]:
    (base,) = rows(catalogue, "SELECT current_database()::text AS name")
    for sql, place, fault in (
        ("GRANT USAGE ON SCHEMA public TO operalta_web", "public", "operalta_web holds USAGE"),
        ("GRANT UPDATE ON SEQUENCE jobs.procrastinate_jobs_id_seq TO operalta_web", "jobs.procrastinate_jobs_id_seq",
            "operalta_web holds UPDATE"),
        (f"GRANT TEMPORARY ON DATABASE {base['name']} TO PUBLIC", base["name"], "every role holds TEMPORARY"),
        (f"GRANT CREATE ON DATABASE {base['name']} TO operalta_web", base["name"], "operalta_web holds CREATE"),
        (f"REVOKE CONNECT ON DATABASE {base['name']} FROM operalta_backup", base["name"], "does not hold CONNECT"),
        ("GRANT USAGE ON TYPE jobs.procrastinate_job_status TO operalta_web", "jobs.procrastinate_job_status",
            "operalta_web holds USAGE"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO operalta_web", "operalta_owner",
            "operalta_web is given rights on tables yet to be made"),
        ("ALTER DEFAULT PRIVILEGES IN SCHEMA agents GRANT EXECUTE ON FUNCTIONS TO PUBLIC", "agents",
            "every role is given rights on functions yet to be made"),
        ("ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC", "operalta_owner",
            "every role may execute functions that are yet to be made"),
    ):  # fmt: skip
        yield Mutant(sql, place, fault)


@batch
def readable_secrets(_: Catalogue) -> Iterator[Mutant]:
    for table, column in (
        ("identity.passwords", "hash"),
        ("identity.sessions", "refresh_digest"),
        ("identity.authenticators", "sealed"),
        ("identity.recovery_codes", "digest"),
        ("agents.runs", "claim_digest"),
        ("scope.key", "inner_pad"),
    ):
        yield Mutant(
            f"GRANT SELECT ({column}) ON {table} TO operalta_worker", table, f"may read {column}, which sounds like"
        )


@superusers
def grants_of_the_server(_: Catalogue) -> Iterator[Mutant]:
    for sql, place, fault in (
        ("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO operalta_web", "pg_read_file(text)", "operalta_web holds"),
        ("GRANT EXECUTE ON FUNCTION pg_ls_dir(text) TO PUBLIC", "pg_ls_dir(text)", "every role holds EXECUTE"),
        ("GRANT SELECT ON pg_authid TO operalta_web", "pg_authid", "operalta_web holds SELECT"),
        ("GRANT SELECT (rolname) ON pg_authid TO PUBLIC", "pg_authid.rolname", "every role holds SELECT"),
        ("GRANT SET ON PARAMETER session_replication_role TO operalta_web", "setting session_replication_role",
            "operalta_web holds SET"),
        ("GRANT CREATE ON TABLESPACE pg_default TO operalta_web", "tablespace pg_default", "operalta_web holds CREATE"),
        ("GRANT USAGE ON LANGUAGE plpgsql TO operalta_web", "language plpgsql", "operalta_web holds USAGE"),
        ("CREATE FOREIGN DATA WRAPPER far; GRANT USAGE ON FOREIGN DATA WRAPPER far TO operalta_web",
            "foreign data wrapper far", "operalta_web holds USAGE"),
        ("CREATE SERVER away FOREIGN DATA WRAPPER far; GRANT USAGE ON FOREIGN SERVER away TO PUBLIC",
            "foreign server away", "every role holds USAGE"),
        ("CREATE FOREIGN TABLE workspace.away (id uuid) SERVER away", "workspace.away", "has no row security"),
    ):  # fmt: skip
        yield Mutant(sql, place, fault)
