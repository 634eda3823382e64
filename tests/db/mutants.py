"""Seeded weakenings of the database: each names where the policy check must find it, and in which words.

Those of one batch are brought in together, checked once and undone, so that hundreds cost seconds. They are made from
the catalogue wherever that says enough, so that a table, policy or function of tomorrow is weakened as well.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from operalta.db.catalogue import Catalogue, Gap, reading
from operalta.db.policy_check import CHECKS
from operalta.db.policy_exceptions import EXCEPTIONS

Row = dict[str, Any]
Connection = psycopg.Connection[Any]
AS_DEFINER = "SET LOCAL ROLE operalta_definer; {}; RESET ROLE"
NO_COMPANY = "does not demand the scope's company and a permission there"
NO_MEMBER = "does not demand the membership"
EVERY_ROW = "lets every row through"
UNBOUND = "does not bind to the scope"
UNDECLARED = "which is not declared"


@dataclass(frozen=True)
class Mutant:
    """SQL that weakens something, the place that must be named, and a part of what must be said of it."""

    sql: str
    place: str
    fault: str


Batch = Callable[[Catalogue], Iterator[Mutant]]
BATCHES: dict[str, Batch] = {}
AS_SUPERUSER: set[str] = set()


def batch(make: Batch) -> Batch:
    """Register a batch under the name of the function that makes it."""
    BATCHES[make.__name__] = make
    return make


def superusers(make: Batch) -> Batch:
    """Register a batch that only a superuser can bring in."""
    AS_SUPERUSER.add(make.__name__)
    return batch(make)


# ── Bringing in, checking, undoing ────────────────────────────────────────────────────────────────────


def findings(connection: Connection, name: str) -> tuple[list[Mutant], dict[str, list[Gap]]]:
    """Bring a batch in, and return it with what each check finds then, exceptions apart; everything is undone."""
    try:
        with reading(connection) as catalogue:
            mutants = list(BATCHES[name](catalogue))
        # Rows that other tests have left would stand in the way of a lax key.
        connection.execute("TRUNCATE identity.people, tenancy.companies CASCADE")
        for mutant in mutants:
            connection.execute(mutant.sql.encode())
        reviewed = {(exception.place, exception.fault) for exception in EXCEPTIONS}
        with reading(connection) as catalogue:
            found = {
                check.__name__: [gap for gap in check(catalogue) if (gap.place, gap.fault) not in reviewed]
                for check in CHECKS
            }
    finally:
        connection.rollback()
    return mutants, found


def catching(mutant: Mutant, found: dict[str, list[Gap]]) -> set[str]:
    """Return the checks that found a mutant: at its place, in its words."""
    return {
        check
        for check, gaps in found.items()
        if any(gap.place == mutant.place and mutant.fault in gap.fault for gap in gaps)
    }


# ── What there is to weaken ───────────────────────────────────────────────────────────────────────────


def rows(catalogue: Catalogue, query: LiteralString) -> list[Row]:
    with catalogue.connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query).fetchall()


def tables(catalogue: Catalogue) -> list[Row]:
    """Every table of ours: `place`, whether it is `of_company`, `written` by a serving role, and its `key`."""
    return rows(
        catalogue,
        """
        SELECT space.nspname || '.' || class.relname AS place, space.nspname AS schema, class.relname AS name,
            EXISTS (SELECT FROM pg_attribute WHERE attrelid = class.oid AND attname = 'company_id') AS of_company,
            has_any_column_privilege('operalta_web', class.oid, 'INSERT, UPDATE')
                OR has_any_column_privilege('operalta_worker', class.oid, 'INSERT, UPDATE') AS written,
            (SELECT conname FROM pg_constraint WHERE conrelid = class.oid AND contype = 'p') AS key,
            (SELECT attname FROM pg_attribute WHERE attrelid = class.oid AND attnum > 0 AND attname <> 'company_id'
                AND NOT attisdropped AND attgenerated = '' ORDER BY attnum LIMIT 1) AS column
        FROM pg_class AS class JOIN pg_namespace AS space ON space.oid = class.relnamespace
        WHERE class.relkind = 'r' AND class.relowner = 'operalta_owner'::regrole AND space.nspname <> 'public'
        ORDER BY 1
        """,
    )


def policies(catalogue: Catalogue) -> list[Row]:
    """Every policy for a serving role, with its rules as the server writes them; `verb` as in CREATE POLICY."""
    return rows(
        catalogue,
        """
        SELECT polrelid::regclass::text AS place, polname AS name, pg_get_expr(polqual, polrelid) AS read_rule,
            pg_get_expr(polwithcheck, polrelid) AS write_rule,
            CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE'
                ELSE 'ALL' END AS verb,
            (SELECT string_agg(rolname, ', ' ORDER BY rolname) FROM pg_roles WHERE oid = ANY (polroles)) AS roles,
            EXISTS (SELECT FROM pg_attribute WHERE attrelid = polrelid AND attname = 'company_id') AS of_company,
            EXISTS (SELECT FROM pg_attribute WHERE attrelid = polrelid AND attname = 'private_to') AS has_private_rows
        FROM pg_policy WHERE polname NOT IN ('owner_everything', 'definer_functions') ORDER BY 1, 2
        """,
    )


def functions(catalogue: Catalogue) -> list[Row]:
    """Every function of ours: `call` with its arguments, `place` without, and whether it is a `definer` function."""
    return rows(
        catalogue,
        """
        SELECT function.oid::regprocedure::text AS call, space.nspname || '.' || function.proname AS place,
            space.nspname AS schema, prosecdef AS definer, prokind = 'p' AS procedure,
            pg_get_function_identity_arguments(function.oid) = '' AS bare
        FROM pg_proc AS function JOIN pg_namespace AS space ON space.oid = function.pronamespace
        WHERE pg_get_userbyid(function.proowner) IN ('operalta_owner', 'operalta_definer') ORDER BY 1
        """,
    )


def fault_of(policy: Row, rule: str) -> str:
    """What must be said of a policy whose `rule` ("read_rule" or "write_rule") does not bind any more."""
    if not policy["of_company"]:
        return UNBOUND
    return NO_COMPANY if policy["verb"] == "SELECT" and rule == "read_rule" else NO_MEMBER


def rewritten(policy: Row, template: str, fault: str = "") -> Iterator[Mutant]:
    """Weaken each rule of a policy by itself: `{}` in the template is what it says now."""
    for rule, keyword in (("read_rule", "USING"), ("write_rule", "WITH CHECK")):
        before: str | None = policy[rule]
        if before not in {None, "true"}:
            sql = f"ALTER POLICY {policy['name']} ON {policy['place']} {keyword} ({template.format(before)})"
            yield Mutant(sql, policy["place"], fault or fault_of(policy, rule))


def exchanged(policy: Row, part: str, instead: str, fault: str = "") -> Iterator[Mutant]:
    """Weaken each rule of a policy by itself that holds `part`, by exchanging it."""
    for rule, keyword in (("read_rule", "USING"), ("write_rule", "WITH CHECK")):
        before: str = policy[rule] or ""
        if part in before:
            changed = before.replace(part, instead)
            sql = f"ALTER POLICY {policy['name']} ON {policy['place']} {keyword} ({changed})"
            yield Mutant(sql, policy["place"], fault or fault_of(policy, rule))


def recreated(policy: Row, kind: str, verb: str, *, checked: bool) -> str:
    """The SQL that makes a policy anew: of another kind, for another verb, or without WITH CHECK."""
    using = f"USING ({policy['read_rule']})" if policy["read_rule"] else ""
    check = f"WITH CHECK ({policy['write_rule']})" if policy["write_rule"] and checked else ""
    return (
        f"DROP POLICY {policy['name']} ON {policy['place']}; CREATE POLICY {policy['name']} ON {policy['place']}"
        f" AS {kind} FOR {verb} TO {policy['roles']} {using} {check}"
    )
