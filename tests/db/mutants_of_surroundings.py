"""Mutants of roles and owners, and of what stands around the tables."""

from collections.abc import Iterator
from itertools import pairwise

from operalta.db.catalogue import SERVING, Catalogue
from operalta.db.policy_surroundings import TRIGGERS
from tests.db.mutants import Mutant, batch, rows, superusers, tables


# ── Roles and owners ──────────────────────────────────────────────────────────────────────────────────
@batch
def memberships(_: Catalogue) -> Iterator[Mutant]:
    for role, member in pairwise(SERVING):
        yield Mutant(f"GRANT {role} TO {member}", role, f"{member} has its rights")
    yield Mutant("GRANT operalta_definer TO operalta_web WITH INHERIT FALSE, SET TRUE", "operalta_definer",
                 "operalta_web can become it")  # fmt: skip
    yield Mutant("GRANT operalta_definer TO operalta_owner WITH INHERIT TRUE", "operalta_definer",
                 "operalta_owner has its rights")  # fmt: skip
    yield Mutant("GRANT operalta_signin TO operalta_job WITH ADMIN TRUE, INHERIT FALSE, SET FALSE", "operalta_signin",
                 "operalta_job can become it")  # fmt: skip
    yield Mutant("CREATE ROLE passer_by LOGIN; GRANT operalta_web TO passer_by", "operalta_web", "passer_by has its")


@superusers
def memberships_of_the_servers_roles(_: Catalogue) -> Iterator[Mutant]:
    for role in ("pg_read_all_data", "pg_write_all_data", "pg_execute_server_program", "pg_monitor"):
        yield Mutant(f"GRANT {role} TO operalta_verifier", role, "operalta_verifier has its rights")


@superusers
def mighty_roles(_: Catalogue) -> Iterator[Mutant]:
    powers = ("SUPERUSER", "BYPASSRLS", "CREATEROLE", "CREATEDB", "REPLICATION")
    for number, role in enumerate((*SERVING, "operalta_definer")):
        yield Mutant(f"ALTER ROLE {role} {powers[number % len(powers)]}", role, "the role can pass row security")
    yield Mutant("ALTER ROLE operalta_definer LOGIN", "operalta_definer", "somebody can connect as it")


@superusers
def roles_gone(_: Catalogue) -> Iterator[Mutant]:
    yield Mutant("ALTER ROLE operalta_backup RENAME TO operalta_old", "operalta_backup", "the role is not there")


@batch
def stored_settings(catalogue: Catalogue) -> Iterator[Mutant]:
    (base,) = rows(catalogue, "SELECT current_database()::text AS name")
    for role in (*SERVING, "operalta_definer", "operalta_owner"):
        yield Mutant(
            f"ALTER ROLE {role} SET search_path = workspace", role, "a setting is stored: search_path=workspace"
        )
    yield Mutant(
        f"ALTER ROLE operalta_web IN DATABASE {base['name']} SET row_security = off",
        "operalta_web",
        f"a setting is stored in {base['name']}: row_security=off",
    )
    yield Mutant(
        f"ALTER DATABASE {base['name']} SET search_path = public",
        "every role",
        f"stored in {base['name']}: search_path",
    )


@superusers
def owners(catalogue: Catalogue) -> Iterator[Mutant]:
    for table in tables(catalogue):
        yield Mutant(f"ALTER TABLE {table['place']} OWNER TO operalta_web", table["place"], "belongs to operalta_web")
    for schema in catalogue.schemas:
        yield Mutant(f"ALTER SCHEMA {schema} OWNER TO operalta_web", schema, "it belongs to operalta_web") \
            if schema != "scope" else Mutant("", "workspace.records", "it belongs to operalta_web")  # fmt: skip


# ── What stands around ────────────────────────────────────────────────────────────────────────────────
@batch
def views(catalogue: Catalogue) -> Iterator[Mutant]:
    for table in tables(catalogue):
        name = f"sandbox.seen_{table['schema']}_{table['name']}"
        yield Mutant(f"CREATE VIEW {name} AS TABLE {table['place']}", name, "runs with its owner's rights")
    yield Mutant(
        "CREATE VIEW workspace.half WITH (security_invoker = false) AS SELECT * FROM workspace.records",
        "workspace.half",
        "runs with its owner's rights",
    )
    yield Mutant(
        "CREATE MATERIALIZED VIEW workspace.kept AS SELECT * FROM workspace.records",
        "workspace.kept",
        "keeps rows that no policy guards",
    )


@batch
def schemas(_: Catalogue) -> Iterator[Mutant]:
    for name in ("auth", "vault", "storage", "extensions"):
        yield Mutant(f"CREATE SCHEMA {name}", name, "public linters skip")
    yield Mutant("CREATE SCHEMA elsewhere", "elsewhere", "nobody declared this schema")
    yield Mutant("ALTER SCHEMA signin RENAME TO signing", "signin", "the schema is not there")


@batch
def triggers(_: Catalogue) -> Iterator[Mutant]:
    for place, name in sorted(TRIGGERS):
        yield Mutant(f"ALTER TABLE {place} DISABLE TRIGGER {name}", place, f"trigger {name} is not in force")
    yield Mutant(
        "CREATE FUNCTION workspace.copy() RETURNS trigger LANGUAGE plpgsql SET search_path = '' AS 'BEGIN END';"
        " CREATE TRIGGER copying AFTER INSERT ON workspace.records FOR EACH ROW EXECUTE FUNCTION workspace.copy()",
        "workspace.records",
        "trigger copying is not declared",
    )
    yield Mutant(
        "CREATE RULE quiet AS ON UPDATE TO workspace.metrics DO INSTEAD NOTHING",
        "workspace.metrics",
        "rule quiet rewrites queries",
    )


@batch
def triggers_gone(_: Catalogue) -> Iterator[Mutant]:
    for place, name in sorted(TRIGGERS):
        yield Mutant(f"DROP TRIGGER {name} ON {place}", place, f"trigger {name} is not there")


WATCHING = (
    "CREATE FUNCTION sandbox.watch() RETURNS event_trigger LANGUAGE plpgsql SET search_path = '' AS 'BEGIN END';"
    " CREATE EVENT TRIGGER watch ON ddl_command_end EXECUTE FUNCTION sandbox.watch()"
)


@superusers
def around(catalogue: Catalogue) -> Iterator[Mutant]:
    (base,) = rows(catalogue, "SELECT current_database()::text AS name")
    for sql, place, fault in (
        ("ALTER TABLE workspace.metric_points DISABLE TRIGGER ALL", "workspace.metric_points", "foreign key's trigger"),
        (WATCHING, "event trigger watch", "it runs at every change"),
        ("CREATE PUBLICATION outward FOR ALL TABLES", "publication outward", "it sends rows out"),
        ("CREATE SUBSCRIPTION inward CONNECTION 'host=nowhere password=x' PUBLICATION x WITH (connect = false)",
            "subscription inward", "it writes rows"),
        ("SELECT set_config('lo_compat_privileges', 'on', true)", base["name"], "read every large object"),
        ("SELECT lo_create(424242)", "large object 424242", "keeps data outside every policy"),
    ):  # fmt: skip
        yield Mutant(sql, place, fault)
