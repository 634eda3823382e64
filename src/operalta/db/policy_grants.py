"""The policy check on rights: what the catalogue grants is what `declared_grants.py` says, both ways."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from operalta.db.catalogue import SERVING, Catalogue, Check, Gap
from operalta.db.declared_grants import DECLARED, DEFINER_RIGHTS, DEFINER_VERBS, SCHEMAS, Rights

PUBLIC = "every role"

_GRANTS = """
    WITH granted AS (
        SELECT 'SCHEMA' AS kind, space.nspname::text AS place, NULL::text AS column, space.nspowner AS owner, acl.*
        FROM pg_catalog.pg_namespace AS space CROSS JOIN LATERAL aclexplode(space.nspacl) AS acl
        WHERE space.nspname = ANY (%(schemas)s) OR space.nspname = 'public'
        UNION ALL
        SELECT CASE class.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, space.nspname || '.' || class.relname,
            NULL, class.relowner, acl.*
        FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
        CROSS JOIN LATERAL aclexplode(class.relacl) AS acl WHERE space.nspname = ANY (%(schemas)s)
        UNION ALL
        SELECT 'TABLE', space.nspname || '.' || class.relname, kept.attname::text, class.relowner, acl.*
        FROM pg_catalog.pg_attribute AS kept JOIN pg_catalog.pg_class AS class ON class.oid = kept.attrelid
        JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
        CROSS JOIN LATERAL aclexplode(kept.attacl) AS acl
        WHERE space.nspname = ANY (%(schemas)s) AND NOT kept.attisdropped
        UNION ALL
        SELECT 'FUNCTION', space.nspname || '.' || function.proname, NULL, function.proowner, acl.*
        FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_namespace AS space ON space.oid = function.pronamespace
        CROSS JOIN LATERAL aclexplode(coalesce(function.proacl, acldefault('f', function.proowner))) AS acl
        WHERE space.nspname = ANY (%(schemas)s)
        UNION ALL
        SELECT 'TYPE', space.nspname || '.' || type.typname, NULL, type.typowner, acl.*
        FROM pg_catalog.pg_type AS type JOIN pg_catalog.pg_namespace AS space ON space.oid = type.typnamespace
        CROSS JOIN LATERAL aclexplode(type.typacl) AS acl WHERE space.nspname = ANY (%(schemas)s)
        UNION ALL
        SELECT 'DATABASE', base.datname::text, NULL, base.datdba, acl.*
        FROM pg_catalog.pg_database AS base
        CROSS JOIN LATERAL aclexplode(coalesce(base.datacl, acldefault('d', base.datdba))) AS acl
        WHERE base.datname = current_database()
    )
    SELECT granted.kind, granted.place, granted.column, granted.privilege_type AS verb,
        granted.is_grantable AS passes_on, coalesce(role.rolname, 'every role')::text AS role
    FROM granted LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = granted.grantee
    WHERE granted.grantee <> granted.owner
"""
_TABLES = """
    SELECT space.nspname || '.' || class.relname AS place
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = ANY (%(schemas)s) AND class.relkind IN ('r', 'p')
"""
# What belongs to the server itself, and was given to one of our roles, or to everybody, after the server was made.
_SERVER_GRANTS = """
    WITH kept AS (
        SELECT 'pg_proc'::regclass AS catalogue, function.oid, 0 AS part, function.oid::regprocedure::text AS place,
            function.proacl AS acl, acldefault('f', function.proowner) AS by_default
        FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_namespace AS space ON space.oid = function.pronamespace
        WHERE space.nspname = 'pg_catalog'
        UNION ALL
        SELECT 'pg_class'::regclass, class.oid, 0, class.oid::regclass::text, class.relacl,
            acldefault('r', class.relowner)
        FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
        WHERE space.nspname = 'pg_catalog'
        UNION ALL
        SELECT 'pg_class'::regclass, class.oid, part.attnum, class.oid::regclass || '.' || part.attname, part.attacl,
            NULL
        FROM pg_catalog.pg_attribute AS part JOIN pg_catalog.pg_class AS class ON class.oid = part.attrelid
        JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
        WHERE space.nspname = 'pg_catalog'
        UNION ALL
        SELECT 'pg_language'::regclass, language.oid, 0, 'language ' || language.lanname, language.lanacl,
            acldefault('l', language.lanowner) FROM pg_catalog.pg_language AS language
        UNION ALL
        SELECT 'pg_parameter_acl'::regclass, setting.oid, 0, 'setting ' || setting.parname, setting.paracl, NULL
        FROM pg_catalog.pg_parameter_acl AS setting
        UNION ALL
        SELECT 'pg_tablespace'::regclass, space.oid, 0, 'tablespace ' || space.spcname, space.spcacl, NULL
        FROM pg_catalog.pg_tablespace AS space
        UNION ALL
        SELECT 'pg_foreign_data_wrapper'::regclass, wrapper.oid, 0, 'foreign data wrapper ' || wrapper.fdwname,
            wrapper.fdwacl, NULL FROM pg_catalog.pg_foreign_data_wrapper AS wrapper
        UNION ALL
        SELECT 'pg_foreign_server'::regclass, server.oid, 0, 'foreign server ' || server.srvname, server.srvacl, NULL
        FROM pg_catalog.pg_foreign_server AS server
    )
    SELECT kept.place, coalesce(role.rolname, 'every role')::text AS role, granted.privilege_type AS verb
    FROM kept LEFT JOIN pg_catalog.pg_init_privs AS first ON first.classoid = kept.catalogue
        AND first.objoid = kept.oid AND first.objsubid = kept.part
    CROSS JOIN LATERAL aclexplode(kept.acl) AS granted
    LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = granted.grantee
    WHERE (granted.grantee = 0 OR role.rolname = ANY (%(ours)s))
      AND NOT EXISTS (SELECT FROM aclexplode(coalesce(first.initprivs, kept.by_default)) AS before
        WHERE before.grantee = granted.grantee AND before.privilege_type = granted.privilege_type)
    ORDER BY 1, 2, 3
"""
_DEFAULTS = """
    SELECT owner.rolname AS owner, coalesce(space.nspname, '') AS schema, kept.defaclobjtype::text AS kind,
        ARRAY(SELECT coalesce(role.rolname, 'every role')::text FROM aclexplode(kept.defaclacl) AS granted
            LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = granted.grantee
            WHERE granted.grantee <> kept.defaclrole ORDER BY 1) AS roles
    FROM pg_catalog.pg_default_acl AS kept JOIN pg_catalog.pg_roles AS owner ON owner.oid = kept.defaclrole
    LEFT JOIN pg_catalog.pg_namespace AS space ON space.oid = kept.defaclnamespace
    WHERE owner.rolname = ANY (%(ours)s) OR space.nspname = ANY (%(schemas)s) ORDER BY 1, 2, 3
"""
_KINDS = {"r": "tables", "S": "sequences", "f": "functions", "T": "types", "n": "schemas", "L": "large objects"}
_VERB = re.compile(r"([A-Z]+)(?: \(([^)]*)\))?")


@dataclass(frozen=True, slots=True, order=True)
class Grant:
    """One right of one role: on a column, or with an empty one on the whole of a thing."""

    role: str
    kind: str
    place: str
    verb: str
    column: str = ""


def declared(tables: tuple[str, ...]) -> frozenset[Grant]:
    """Return every grant that there should be, where these are all tables of ours."""
    rights: Mapping[str, Rights] = {**DECLARED, "operalta_definer": DEFINER_RIGHTS}
    grants = {grant for role, those in rights.items() for grant in _spelled_out(role, those)}
    grants |= {Grant("operalta_definer", "SCHEMA", schema, "CREATE") for schema in SCHEMAS}
    grants |= {
        Grant("operalta_definer", "TABLE", table, verb)
        for table in tables
        if table.partition(".")[0] in SCHEMAS
        for verb in DEFINER_VERBS
    }
    return frozenset(grants)


def _spelled_out(role: str, rights: Rights) -> Iterator[Grant]:
    for schema in rights.schemas.split():
        yield Grant(role, "SCHEMA", schema, "USAGE")
    for table, verbs in rights.tables.items():
        for verb, columns in _VERB.findall(verbs):
            for column in columns.split(", ") if columns else ("",):
                yield Grant(role, "TABLE", table, verb, column)
    for sequence in rights.sequences.split():
        yield Grant(role, "SEQUENCE", sequence, "USAGE")
    for schema, names in rights.functions.items():
        for name in names.split():
            yield Grant(role, "FUNCTION", f"{schema}.{name}", "EXECUTE")


def grants(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield rights that are held but not declared, and rights that are declared but not held."""
    rows = catalogue.rows(_GRANTS)
    held = {Grant(row["role"], row["kind"], row["place"], row["verb"], row["column"] or "") for row in rows}
    base = _database(catalogue)
    wanted = declared(tuple(row["place"] for row in catalogue.rows(_TABLES)))
    wanted |= {Grant(role, "DATABASE", base, "CONNECT") for role in SERVING}
    for grant, columns in _by_columns(held - wanted):
        yield Gap(
            grant.place,
            f"{grant.role} holds {grant.verb}{columns}, which is not declared",
            f"{_revoke(grant, columns)}, or declare it in db/declared_grants.py",
        )
    for grant, columns in _by_columns(wanted - held):
        yield Gap(
            grant.place,
            f"{grant.role} does not hold {grant.verb}{columns}, which is declared",
            "GRANT it in a migration, or take it out of db/declared_grants.py",
        )
    for row in rows:
        if row["passes_on"]:
            yield Gap(
                row["place"], f"{row['role']} may pass {row['verb']} on to others", "REVOKE GRANT OPTION FOR … FROM …"
            )


def _by_columns(found: set[Grant] | frozenset[Grant]) -> Iterator[tuple[Grant, str]]:
    """Yield one grant for all columns of a verb, with their names in brackets behind it."""
    together: dict[Grant, list[str]] = defaultdict(list)
    for grant in sorted(found):
        together[Grant(grant.role, grant.kind, grant.place, grant.verb)].append(grant.column)
    for whole, columns in together.items():
        if "" in columns:
            yield whole, ""
        if named := [column for column in columns if column]:
            yield whole, f" ({', '.join(named)})"


def _revoke(grant: Grant, columns: str) -> str:
    role = "PUBLIC" if grant.role == PUBLIC else grant.role
    return f"REVOKE {grant.verb}{columns} ON {grant.kind} {grant.place} FROM {role}"


def _database(catalogue: Catalogue) -> str:
    (row,) = catalogue.rows("SELECT current_database()::text AS name")
    name: str = row["name"]
    return name


def server_grants(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield rights on the server's own functions, tables, languages and settings that it did not come with."""
    for row in catalogue.rows(_SERVER_GRANTS):
        role = "PUBLIC" if row["role"] == PUBLIC else row["role"]
        yield Gap(
            row["place"],
            f"{row['role']} holds {row['verb']}, which the server does not grant by itself",
            f"REVOKE {row['verb']} … FROM {role}",
        )


def default_grants(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield rights on things that are yet to be made. One default is ours: new functions are nobody's to execute."""
    closed = False
    for row in catalogue.rows(_DEFAULTS):
        closed |= (row["owner"], row["schema"], row["kind"], row["roles"]) == (catalogue.owner, "", "f", [])
        for role in row["roles"]:
            yield Gap(
                row["schema"] or row["owner"],
                f"{role} is given rights on {_KINDS.get(row['kind'], 'things')} yet to be made by {row['owner']}",
                "ALTER DEFAULT PRIVILEGES … REVOKE …, and grant on each thing when it is made",
            )
    if not closed:
        yield Gap(
            catalogue.owner,
            "every role may execute functions that are yet to be made",
            "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC, as the owner",
        )


CHECKS: tuple[Check, ...] = (grants, server_grants, default_grants)
