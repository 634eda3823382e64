"""`operalta policy-check`: reads the catalogue and finds every gap in row security, with how to mend it.

It runs at the end of every migration, in the tests and inside `verify`. What is an exception on purpose stands in
`policy_exceptions.py`, with its reason.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from operalta.db.policy_exceptions import EXCEPTIONS
from operalta.terms.registry import upholds

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Gap:
    """A gap: where it is, what is wrong, and what to do."""

    place: str
    fault: str
    mend: str


# ruff: noqa: S608 - literals of this module joined; nothing comes from outside
_SCHEMAS: LiteralString = """
WITH ours AS (SELECT oid, nspname FROM pg_catalog.pg_namespace WHERE nspname IN ('scope', 'access', 'signin',
    'elevated', 'identity', 'tenancy', 'audit', 'jobs', 'delivery', 'workspace', 'agents', 'sandbox', 'assurance')),
serving AS (SELECT oid, rolname FROM pg_catalog.pg_roles WHERE rolname IN ('operalta_signin', 'operalta_web',
    'operalta_worker', 'operalta_dispatch', 'operalta_job', 'operalta_backup', 'operalta_verifier'))
"""
_OPEN_TABLES: LiteralString = (
    _SCHEMAS
    + """
SELECT ours.nspname || '.' || class.relname AS place
FROM pg_catalog.pg_class AS class JOIN ours ON ours.oid = class.relnamespace
WHERE class.relkind IN ('r', 'p') AND NOT (class.relrowsecurity AND class.relforcerowsecurity)
"""
)
_VERBS_WITHOUT_POLICY: LiteralString = (
    _SCHEMAS
    + """
SELECT ours.nspname || '.' || class.relname AS place, serving.rolname AS role, verb.name AS verb
FROM pg_catalog.pg_class AS class JOIN ours ON ours.oid = class.relnamespace CROSS JOIN serving
CROSS JOIN (VALUES ('SELECT', 'r'), ('INSERT', 'a'), ('UPDATE', 'w'), ('DELETE', 'd')) AS verb (name, code)
WHERE class.relkind IN ('r', 'p')
  AND CASE verb.name WHEN 'DELETE' THEN has_table_privilege(serving.oid, class.oid, 'DELETE')
      ELSE has_any_column_privilege(serving.oid, class.oid, verb.name) END
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy AS policy WHERE policy.polrelid = class.oid
      AND policy.polcmd::text IN ('*', verb.code) AND (policy.polroles @> ARRAY[serving.oid]))
"""
)
_POLICIES: LiteralString = (
    _SCHEMAS
    + """
SELECT ours.nspname || '.' || class.relname AS place, policy.polname AS policy, policy.polcmd::text AS verb,
    coalesce(pg_get_expr(policy.polqual, policy.polrelid), '') AS read_rule,
    coalesce(pg_get_expr(policy.polwithcheck, policy.polrelid), '') AS write_rule,
    EXISTS (SELECT FROM pg_catalog.pg_attribute AS attribute WHERE attribute.attrelid = class.oid
        AND attribute.attname = 'company_id' AND NOT attribute.attisdropped) AS of_company,
    EXISTS (SELECT FROM serving WHERE policy.polroles @> ARRAY[serving.oid]) AS serves,
    policy.polroles @> ARRAY[0::oid] AS for_public
FROM pg_catalog.pg_policy AS policy JOIN pg_catalog.pg_class AS class ON class.oid = policy.polrelid
JOIN ours ON ours.oid = class.relnamespace
"""
)
_COMPANY_KEYS: LiteralString = (
    _SCHEMAS
    + """
SELECT ours.nspname || '.' || class.relname AS place, index_class.relname AS key
FROM pg_catalog.pg_index AS index JOIN pg_catalog.pg_class AS class ON class.oid = index.indrelid
JOIN ours ON ours.oid = class.relnamespace
JOIN pg_catalog.pg_class AS index_class ON index_class.oid = index.indexrelid
JOIN pg_catalog.pg_attribute AS company ON company.attrelid = class.oid AND company.attname = 'company_id'
    AND NOT company.attisdropped
WHERE index.indisunique AND index.indkey[0] <> company.attnum
  AND EXISTS (SELECT FROM serving WHERE has_any_column_privilege(serving.oid, class.oid, 'INSERT')
      OR has_any_column_privilege(serving.oid, class.oid, 'UPDATE'))
"""
)
_NULLABLE_COMPANY: LiteralString = (
    _SCHEMAS
    + """
SELECT ours.nspname || '.' || class.relname AS place
FROM pg_catalog.pg_class AS class JOIN ours ON ours.oid = class.relnamespace
JOIN pg_catalog.pg_attribute AS company ON company.attrelid = class.oid AND company.attname = 'company_id'
    AND NOT company.attisdropped
WHERE class.relkind IN ('r', 'p') AND NOT company.attnotnull
"""
)
_FOREIGN_KEYS: LiteralString = (
    _SCHEMAS
    + """
SELECT ours.nspname || '.' || class.relname AS place, fk.conname AS key
FROM pg_catalog.pg_constraint AS fk JOIN pg_catalog.pg_class AS class ON class.oid = fk.conrelid
JOIN ours ON ours.oid = class.relnamespace
JOIN pg_catalog.pg_attribute AS company ON company.attrelid = fk.confrelid AND company.attname = 'company_id'
    AND NOT company.attisdropped
WHERE fk.contype = 'f' AND fk.confkey[1] <> company.attnum
  AND EXISTS (SELECT FROM serving WHERE has_any_column_privilege(serving.oid, class.oid, 'INSERT')
      OR has_any_column_privilege(serving.oid, class.oid, 'UPDATE'))
"""
)
_FUNCTIONS: LiteralString = (
    _SCHEMAS
    + """
SELECT function.oid::regprocedure::text AS place, function.prosecdef AS definer, owner.rolname AS owner,
    owner.rolcanlogin OR owner.rolsuper OR owner.rolbypassrls AS mighty_owner,
    coalesce(array_to_string(function.proconfig, '|'), '') AS pinned,
    has_function_privilege('public', function.oid, 'EXECUTE') AS for_public
FROM pg_catalog.pg_proc AS function JOIN ours ON ours.oid = function.pronamespace
JOIN pg_catalog.pg_roles AS owner ON owner.oid = function.proowner
"""
)
_VIEWS: LiteralString = (
    _SCHEMAS
    + """
SELECT ours.nspname || '.' || class.relname AS place
FROM pg_catalog.pg_class AS class JOIN ours ON ours.oid = class.relnamespace
WHERE class.relkind IN ('v', 'm') AND NOT coalesce(class.reloptions @> ARRAY['security_invoker=true'], false)
"""
)
_ROLES: LiteralString = (
    _SCHEMAS
    + """
SELECT role.rolname AS place, role.rolsuper OR role.rolbypassrls OR role.rolcreaterole OR role.rolcreatedb AS mighty,
    EXISTS (SELECT FROM pg_catalog.pg_class AS class WHERE class.relowner = role.oid) AS owns,
    EXISTS (SELECT FROM pg_catalog.pg_db_role_setting AS stored WHERE stored.setrole = role.oid) AS stored_settings,
    EXISTS (SELECT FROM pg_catalog.pg_auth_members AS held WHERE held.member = role.oid) AS holds_roles
FROM pg_catalog.pg_roles AS role JOIN serving ON serving.oid = role.oid
"""
)
_PUBLIC_GRANTS: LiteralString = (
    _SCHEMAS
    + """
SELECT ours.nspname || '.' || class.relname AS place
FROM pg_catalog.pg_class AS class JOIN ours ON ours.oid = class.relnamespace
CROSS JOIN LATERAL aclexplode(class.relacl) AS granted WHERE granted.grantee = 0
UNION ALL
SELECT space.nspname FROM pg_catalog.pg_namespace AS space CROSS JOIN LATERAL aclexplode(space.nspacl) AS granted
WHERE granted.grantee = 0 AND space.nspname NOT IN ('pg_catalog', 'information_schema')
"""
)
PINNED = (
    'search_path=""',
    "client_min_messages=error",
    "debug_print_parse=off",
    "debug_print_rewritten=off",
    "debug_print_plan=off",
)


@upholds("2.4.1", "2.4.5", "2.5.2")
def check_policies(connection: psycopg.Connection[Any]) -> list[Gap]:
    """Return every gap that no reviewed exception covers, sorted. Reads the catalogue and changes nothing."""
    found: list[Gap] = []
    for query, judge in _CHECKS:
        with connection.cursor(row_factory=dict_row) as cursor:
            for row in cursor.execute(query).fetchall():
                found.extend(judge(row))
    covered = {(exception.place, exception.fault) for exception in EXCEPTIONS}
    return sorted(
        (gap for gap in found if (gap.place, gap.fault) not in covered), key=lambda gap: (gap.place, gap.fault)
    )


def _open_table(row: Row) -> Iterator[Gap]:
    yield Gap(row["place"], "row security is not on and forced", "CALL scope.guard_table('…') in its migration")


def _verb_without_policy(row: Row) -> Iterator[Gap]:
    yield Gap(
        row["place"],
        f"{row['role']} may {row['verb']} but no policy says which rows",
        "add a policy for that verb and role, or revoke the grant",
    )


def _policy(row: Row) -> Iterator[Gap]:
    rules = row["read_rule"] + " " + row["write_rule"]
    if row["for_public"]:
        yield Gap(row["place"], f"policy {row['policy']} is for every role", "name the roles it is for")
    if not row["serves"]:
        return
    if "memberships" in rules:
        yield Gap(row["place"], f"policy {row['policy']} reads the membership table", "call a scope function instead")
    if not row["of_company"]:
        return
    per_row = rules.replace("SELECT scope.scope_", "").replace("SELECT scope.may(", "")
    if "scope.scope_" in per_row or "scope.may(" in per_row:
        yield Gap(
            row["place"],
            f"policy {row['policy']} calls a scope function for each row",
            "write (SELECT scope.…()) so that it is planned once a statement",
        )
    if row["verb"] in {"r", "*"} and "company_id = ( SELECT scope.scope_company()" not in row["read_rule"]:
        yield Gap(
            row["place"],
            f"read policy {row['policy']} does not compare company_id with the scope",
            "add company_id = (SELECT scope.scope_company())",
        )
    for kind, rule in (("read_rule", "USING"), ("write_rule", "WITH CHECK")):
        needed = {"a": {"write_rule"}, "w": {"read_rule", "write_rule"}, "d": {"read_rule"}}.get(
            row["verb"], set[str]()
        )
        if kind in needed and "scope.is_company_member_with_role(company_id" not in row[kind]:
            yield Gap(
                row["place"],
                f"{rule} of write policy {row['policy']} does not check the membership",
                "call scope.is_company_member_with_role(company_id, …)",
            )


def _key(row: Row) -> Iterator[Gap]:
    yield Gap(row["place"], f"unique key {row['key']} looks past row security", "begin it with company_id")


def _nullable(row: Row) -> Iterator[Gap]:
    yield Gap(row["place"], "company_id may be NULL", "ALTER COLUMN company_id SET NOT NULL")


def _foreign_key(row: Row) -> Iterator[Gap]:
    yield Gap(row["place"], f"foreign key {row['key']} looks past row security", "begin it with company_id")


def _function(row: Row) -> Iterator[Gap]:
    if row["for_public"]:
        yield Gap(row["place"], "everybody may execute it", "REVOKE EXECUTE … FROM PUBLIC")
    if not row["definer"]:
        return
    if row["owner"] != "operalta_definer" or row["mighty_owner"]:
        yield Gap(row["place"], f"it runs with the rights of {row['owner']}", "give it to operalta_definer")
    for setting in PINNED:
        if setting not in row["pinned"].split("|"):
            yield Gap(row["place"], f"{setting} is not pinned", "ALTER FUNCTION … SET …")


def _view(row: Row) -> Iterator[Gap]:
    yield Gap(row["place"], "the view runs with its owner's rights", "ALTER VIEW … SET (security_invoker = true)")


def _role(row: Row) -> Iterator[Gap]:
    for held, fault in (
        (row["mighty"], "the role can pass row security or make roles"),
        (row["owns"], "the role owns tables"),
        (row["stored_settings"], "settings are stored for the role"),
        (row["holds_roles"], "the role is a member of another"),
    ):
        if held:
            yield Gap(
                row["place"], fault, "take that away: ALTER ROLE …, REASSIGN OWNED, ALTER ROLE … RESET ALL, REVOKE"
            )


def _public_grant(row: Row) -> Iterator[Gap]:
    yield Gap(row["place"], "every role has a grant on it", "REVOKE ALL … FROM PUBLIC")


_CHECKS: tuple[tuple[LiteralString, Callable[[Row], Iterator[Gap]]], ...] = (
    (_OPEN_TABLES, _open_table),
    (_VERBS_WITHOUT_POLICY, _verb_without_policy),
    (_POLICIES, _policy),
    (_COMPANY_KEYS, _key),
    (_NULLABLE_COMPANY, _nullable),
    (_FOREIGN_KEYS, _foreign_key),
    (_FUNCTIONS, _function),
    (_VIEWS, _view),
    (_ROLES, _role),
    (_PUBLIC_GRANTS, _public_grant),
)
