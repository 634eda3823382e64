"""The policy check on keys and indexes: constraints look past row security, so they must begin with the company.

A unique key without it tells whether another company has a value; a foreign key without it tells whether a row is
there, and takes it. Deleting along a foreign key without an index reads the rows of all companies.
"""

from collections.abc import Iterator

from operalta.db.catalogue import Catalogue, Check, Gap
from operalta.db.rule_text import conditions

_UNIQUE_KEYS = """
    SELECT space.nspname || '.' || class.relname AS place, named.relname AS key
    FROM pg_catalog.pg_index AS key JOIN pg_catalog.pg_class AS class ON class.oid = key.indrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_class AS named ON named.oid = key.indexrelid
    JOIN pg_catalog.pg_attribute AS company ON company.attrelid = class.oid AND company.attname = 'company_id'
        AND NOT company.attisdropped
    WHERE space.nspname = ANY (%(schemas)s) AND (key.indisunique OR key.indisexclusion)
      AND key.indkey[0] <> company.attnum
      AND EXISTS (SELECT FROM pg_catalog.pg_roles AS role WHERE role.rolname = ANY (%(serving)s)
        AND (has_any_column_privilege(role.oid, class.oid, 'INSERT')
          OR has_any_column_privilege(role.oid, class.oid, 'UPDATE')))
    ORDER BY 1, 2
"""
# `between_companies`: both tables have a company, so both sides of the key must begin with it.
_FOREIGN_KEYS = """
    SELECT space.nspname || '.' || class.relname AS place, key.conname AS key,
        target_space.nspname || '.' || target.relname AS target, first_column.attname AS first_column,
        there.attname IS NOT NULL AS between_companies,
        here.attnum IS NOT DISTINCT FROM key.conkey[1] AND there.attnum IS NOT DISTINCT FROM key.confkey[1] AS begins,
        target_space.nspname = 'tenancy' AND target.relname = 'companies' AS names_company,
        EXISTS (SELECT FROM pg_catalog.pg_roles AS role WHERE role.rolname = ANY (%(serving)s)
            AND (has_any_column_privilege(role.oid, class.oid, 'INSERT')
              OR has_any_column_privilege(role.oid, class.oid, 'UPDATE'))) AS written
    FROM pg_catalog.pg_constraint AS key JOIN pg_catalog.pg_class AS class ON class.oid = key.conrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_class AS target ON target.oid = key.confrelid
    JOIN pg_catalog.pg_namespace AS target_space ON target_space.oid = target.relnamespace
    JOIN pg_catalog.pg_attribute AS first_column ON first_column.attrelid = class.oid
        AND first_column.attnum = key.conkey[1]
    LEFT JOIN pg_catalog.pg_attribute AS here ON here.attrelid = class.oid AND here.attname = 'company_id'
    LEFT JOIN pg_catalog.pg_attribute AS there ON there.attrelid = target.oid AND there.attname = 'company_id'
    WHERE space.nspname = ANY (%(schemas)s) AND key.contype = 'f' ORDER BY 1, 2
"""
# People whom a caller may name: each column with the rules of the policies under which it is written.
_NAMED_PEOPLE = """
    SELECT space.nspname || '.' || class.relname AS place, key.conname AS key, filled.attname AS column,
        array_agg(DISTINCT coalesce(pg_get_expr(policy.polwithcheck, policy.polrelid), '')) AS rules
    FROM pg_catalog.pg_constraint AS key JOIN pg_catalog.pg_class AS class ON class.oid = key.conrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_class AS target ON target.oid = key.confrelid AND target.relname = 'people'
    JOIN pg_catalog.pg_namespace AS target_space ON target_space.oid = target.relnamespace
        AND target_space.nspname = 'identity'
    JOIN pg_catalog.pg_attribute AS filled ON filled.attrelid = class.oid AND filled.attnum = key.conkey[1]
    JOIN pg_catalog.pg_policy AS policy ON policy.polrelid = class.oid
    JOIN (VALUES ('INSERT', 'a'), ('UPDATE', 'w')) AS verb (name, code) ON policy.polcmd::text IN ('*', verb.code)
    JOIN pg_catalog.pg_roles AS role ON role.rolname = ANY (%(serving)s) AND policy.polroles @> ARRAY[role.oid]
    WHERE space.nspname = ANY (%(schemas)s) AND key.contype = 'f'
      AND has_column_privilege(role.oid, class.oid, filled.attname, verb.name)
    GROUP BY 1, 2, 3 ORDER BY 1, 2
"""
# Of use where its first column is of the key, and every row that refers to something is in it.
_UNINDEXED = """
    SELECT space.nspname || '.' || class.relname AS place, key.conname AS key,
        (SELECT string_agg(kept.attname, ', ' ORDER BY place.number) FROM unnest(key.conkey) WITH ORDINALITY
            AS place (attnum, number) JOIN pg_catalog.pg_attribute AS kept ON kept.attrelid = class.oid
            AND kept.attnum = place.attnum) AS columns
    FROM pg_catalog.pg_constraint AS key JOIN pg_catalog.pg_class AS class ON class.oid = key.conrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = ANY (%(schemas)s) AND key.contype = 'f' AND key.confdeltype IN ('c', 'n', 'd')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_index AS index WHERE index.indrelid = class.oid AND index.indisvalid
        AND index.indkey[0] = ANY (key.conkey)
        AND (index.indpred IS NULL OR pg_get_expr(index.indpred, index.indrelid) = '(' || (SELECT kept.attname
            FROM pg_catalog.pg_attribute AS kept WHERE kept.attrelid = class.oid AND kept.attnum = index.indkey[0])
            || ' IS NOT NULL)'))
    ORDER BY 1, 2
"""
_DUPLICATES = """
    SELECT space.nspname || '.' || class.relname AS place,
        string_agg(named.relname, ' and ' ORDER BY named.relname) AS indexes
    FROM pg_catalog.pg_index AS index JOIN pg_catalog.pg_class AS class ON class.oid = index.indrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_class AS named ON named.oid = index.indexrelid
    WHERE space.nspname = ANY (%(schemas)s)
    GROUP BY 1, index.indrelid, named.relam, index.indkey::text, index.indoption::text, index.indclass::text,
        index.indcollation::text, coalesce(pg_get_expr(index.indpred, index.indrelid), ''),
        coalesce(pg_get_expr(index.indexprs, index.indrelid), '')
    HAVING count(*) > 1 ORDER BY 1, 2
"""
_NOT_IN_FORCE = """
    SELECT space.nspname || '.' || class.relname AS place, 'constraint ' || rule.conname AS rule
    FROM pg_catalog.pg_constraint AS rule JOIN pg_catalog.pg_class AS class ON class.oid = rule.conrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = ANY (%(schemas)s) AND NOT rule.convalidated
    UNION ALL
    SELECT space.nspname || '.' || class.relname, 'index ' || named.relname
    FROM pg_catalog.pg_index AS index JOIN pg_catalog.pg_class AS class ON class.oid = index.indrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_class AS named ON named.oid = index.indexrelid
    WHERE space.nspname = ANY (%(schemas)s) AND NOT (index.indisvalid AND index.indisready AND index.indislive)
    ORDER BY 1, 2
"""


def unique_keys(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield unique keys through which one company could learn of another's rows."""
    for row in catalogue.rows(_UNIQUE_KEYS):
        yield Gap(row["place"], f"unique key {row['key']} looks past row security", "begin it with company_id")


def foreign_keys(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield foreign keys that could lead from one company's rows to another's."""
    for row in catalogue.rows(_FOREIGN_KEYS):
        if row["between_companies"] and row["written"] and not row["begins"]:
            yield Gap(
                row["place"],
                f"foreign key {row['key']} looks past row security",
                f"begin it with company_id on both sides: (company_id, …) REFERENCES {row['target']} (company_id, …)",
            )
        if row["names_company"] and row["first_column"] != "company_id":
            yield Gap(
                row["place"],
                f"it names its company in {row['first_column']}",
                "call that column company_id, NOT NULL, so that policies and checks find it",
            )


_ONESELF = ("scope_person", "scope_reader", "session_person")


def named_people(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield foreign keys to people that a serving role may fill with any id, and so ask whether somebody exists."""
    for row in catalogue.rows(_NAMED_PEOPLE):
        oneself = [f"{row['column']} = ( SELECT scope.{who}() AS {who})" for who in _ONESELF]
        bound = {*oneself, *(f"({row['column']} IS NULL) OR ({equal})" for equal in oneself)}
        if not all(bound & set(conditions(rule)) for rule in row["rules"]):
            yield Gap(
                row["place"],
                f"foreign key {row['key']} tells whether any person exists",
                f"let WITH CHECK demand {row['column']} = (SELECT scope.scope_person()), or refer to "
                "tenancy.memberships (company_id, person_id)",
            )


def indexes(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield deletions that would read all companies' rows, and indexes that are there twice."""
    for row in catalogue.rows(_UNINDEXED):
        yield Gap(
            row["place"],
            f"deleting along foreign key {row['key']} reads the whole table",
            f"CREATE INDEX … ({row['columns']})",
        )
    for row in catalogue.rows(_DUPLICATES):
        yield Gap(row["place"], f"the indexes {row['indexes']} are the same", "DROP INDEX for all but one")


def not_in_force(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield constraints and indexes that are written down but do not hold."""
    for row in catalogue.rows(_NOT_IN_FORCE):
        yield Gap(row["place"], f"{row['rule']} is not in force", "VALIDATE CONSTRAINT or REINDEX, and ENFORCED")


CHECKS: tuple[Check, ...] = (unique_keys, foreign_keys, named_people, indexes, not_in_force)
