"""The policy check on functions: whose rights they run with, under which settings, and that no text becomes a query."""

import re
from collections import Counter
from collections.abc import Iterator

from operalta.db.catalogue import Catalogue, Check, Gap, Row
from operalta.db.elevated_flows import FLOWS
from operalta.db.rule_text import without_literals
from operalta.terms.registry import upholds

PINNED = (
    'search_path=""',
    "client_min_messages=error",
    "debug_print_parse=off",
    "debug_print_rewritten=off",
    "debug_print_plan=off",
)
"""What every definer function pins: otherwise its caller could change what it means, or print what it reads."""

_FUNCTIONS = """
    SELECT function.oid::regprocedure::text AS place, space.nspname AS schema, function.proname AS name,
        function.prosecdef AS definer, owner.rolname AS owner, language.lanname AS language,
        function.proleakproof AS leakproof, coalesce(function.proconfig, '{}') AS settings,
        function.prosqlbody IS NOT NULL AS parsed,
        coalesce(pg_get_function_sqlbody(function.oid), function.prosrc) AS body,
        ARRAY(SELECT DISTINCT coalesce(grantee.rolname, 'PUBLIC')::text
            FROM aclexplode(coalesce(function.proacl, acldefault('f', function.proowner))) AS granted
            LEFT JOIN pg_catalog.pg_roles AS grantee ON grantee.oid = granted.grantee
            WHERE granted.grantee <> function.proowner ORDER BY 1) AS executed_by
    FROM pg_catalog.pg_proc AS function JOIN pg_catalog.pg_namespace AS space ON space.oid = function.pronamespace
    JOIN pg_catalog.pg_roles AS owner ON owner.oid = function.proowner
    JOIN pg_catalog.pg_language AS language ON language.oid = function.prolang
    WHERE space.nspname = ANY (%(schemas)s) ORDER BY 1
"""
# Beside EXECUTE, these built-in functions run text that they are given, or read a table whose name is.
_RUNS_TEXT = re.compile(
    r"\b(execute|(?:query|table|cursor|schema|database)_to_xml\w*|ts_stat|ts_rewrite|dblink\w*)\b", re.IGNORECASE
)
_SAFE_PATHS = frozenset({"", "pg_catalog", "jobs"})
_ELEVATED = "elevated"


def functions(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield what is open in each function by itself."""
    for row in catalogue.rows(_FUNCTIONS):
        yield from _definer(row, catalogue.names["definer"]) if row["definer"] else _invoker(row, catalogue.owner)
        yield from _body(row)


def _definer(row: Row, definer: str) -> Iterator[Gap]:
    if row["owner"] != definer:
        yield Gap(row["place"], f"it runs with the rights of {row['owner']}", f"give it to {definer}")
    for setting in PINNED:
        if setting not in row["settings"]:
            yield Gap(row["place"], f"{setting} is not pinned", "ALTER FUNCTION … SET …: harden.sql does it")
    yield from _other_settings(row)


def _invoker(row: Row, owner: str) -> Iterator[Gap]:
    if row["owner"] != owner:
        yield Gap(row["place"], f"it belongs to {row['owner']}", f"ALTER FUNCTION … OWNER TO {owner}")
    paths = [setting.partition("=")[2] for setting in row["settings"] if setting.startswith("search_path=")]
    safe = all(part.strip(' "') in _SAFE_PATHS for path in paths for part in path.split(","))
    # A body that was parsed when the function was made means what it meant then.
    if not row["parsed"] and not (paths and safe):
        yield Gap(
            row["place"],
            "what its names mean is decided by its caller's search path",
            "write its body as RETURN … or BEGIN ATOMIC, or ALTER FUNCTION … SET search_path = ''",
        )
    yield from _other_settings(row)


def _other_settings(row: Row) -> Iterator[Gap]:
    pinned = {setting.partition("=")[0] for setting in PINNED}
    for setting in row["settings"]:
        if setting.partition("=")[0] not in pinned:
            yield Gap(row["place"], f"it runs with {setting}", "ALTER FUNCTION … RESET …")


def _body(row: Row) -> Iterator[Gap]:
    if row["language"] not in {"sql", "plpgsql"}:
        yield Gap(row["place"], f"its language is {row['language']}", "write it in SQL or PL/pgSQL")
    if row["leakproof"]:
        yield Gap(
            row["place"],
            "it is marked leakproof, so it may see rows before their policies decide",
            "ALTER FUNCTION … NOT LEAKPROOF",
        )
    runs_text = sorted({found.lower() for found in _RUNS_TEXT.findall(without_literals(row["body"]))})
    # What the owner alone can call, with the owner's own rights, is a tool of migrations.
    if runs_text and (row["definer"] or row["executed_by"]):
        yield Gap(
            row["place"],
            f"it runs text as a query ({', '.join(runs_text)})",
            "write the statement out; names of tables and columns are never parameters",
        )


def overloads(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield names that several functions of a schema share: a grant or a call could mean the other one."""
    names = Counter((row["schema"], row["name"]) for row in catalogue.rows(_FUNCTIONS))
    for (schema, name), number in sorted(names.items()):
        if number > 1:
            yield Gap(f"{schema}.{name}", f"{number} functions share this name", "give each a name of its own")


@upholds("2.4.3", "2.4.4")
def elevated_flows(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield functions of schema `elevated` that are not in the closed list, and those that are only there."""
    present = {row["name"] for row in catalogue.rows(_FUNCTIONS) if row["schema"] == _ELEVATED}
    listed = {flow.function for flow in FLOWS}
    for name in sorted(present - listed):
        yield Gap(
            f"{_ELEVATED}.{name}",
            "an elevated function that the closed list does not name",
            "add it to db/elevated_flows.py with its purpose, what validates its ids and what it leaves in the log",
        )
    for name in sorted(listed - present):
        yield Gap(
            f"{_ELEVATED}.{name}",
            "the closed list names an elevated function that is not there",
            "take it out of db/elevated_flows.py, or make it",
        )


CHECKS: tuple[Check, ...] = (functions, overloads, elevated_flows)
