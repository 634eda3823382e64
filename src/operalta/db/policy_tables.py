"""The policy check on tables and views: row security on each, a policy for each verb, nothing that reads past it."""

from collections.abc import Iterator

from operalta.db.catalogue import Catalogue, Check, Gap

_TABLES = """
    SELECT space.nspname || '.' || class.relname AS place, class.relrowsecurity AS switched_on,
        class.relforcerowsecurity AS forced,
        EXISTS (SELECT FROM pg_catalog.pg_policy AS policy WHERE policy.polrelid = class.oid) AS has_policies,
        EXISTS (SELECT FROM pg_catalog.pg_index AS key WHERE key.indrelid = class.oid AND key.indisprimary) AS has_key
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = ANY (%(schemas)s) AND class.relkind IN ('r', 'p') ORDER BY 1
"""
_GUARDS = """
    SELECT space.nspname || '.' || class.relname AS place, guard.role
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    CROSS JOIN (VALUES (%(owner)s), (%(definer)s)) AS guard (role)
    WHERE space.nspname = ANY (%(schemas)s) AND class.relkind IN ('r', 'p') AND class.relrowsecurity
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy AS policy WHERE policy.polrelid = class.oid
        AND policy.polpermissive AND policy.polcmd = '*' AND pg_get_expr(policy.polqual, policy.polrelid) = 'true'
        AND policy.polroles = ARRAY(SELECT role.oid FROM pg_catalog.pg_roles AS role WHERE role.rolname = guard.role))
    ORDER BY 1, 2
"""
_VERBS_WITHOUT_POLICY = """
    SELECT space.nspname || '.' || class.relname AS place, role.rolname AS role, verb.name AS verb
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_roles AS role ON role.rolname = ANY (%(serving)s)
    CROSS JOIN (VALUES ('SELECT', 'r'), ('INSERT', 'a'), ('UPDATE', 'w'), ('DELETE', 'd')) AS verb (name, code)
    WHERE space.nspname = ANY (%(schemas)s) AND class.relkind IN ('r', 'p')
      AND CASE verb.name WHEN 'DELETE' THEN has_table_privilege(role.oid, class.oid, 'DELETE')
          ELSE has_any_column_privilege(role.oid, class.oid, verb.name) END
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_policy AS policy WHERE policy.polrelid = class.oid
          AND policy.polpermissive AND policy.polcmd::text IN ('*', verb.code) AND policy.polroles @> ARRAY[role.oid])
    ORDER BY 1, 2, 3
"""
_NULLABLE_COMPANIES = """
    SELECT space.nspname || '.' || class.relname AS place
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_attribute AS company ON company.attrelid = class.oid AND company.attname = 'company_id'
        AND NOT company.attisdropped
    WHERE space.nspname = ANY (%(schemas)s) AND class.relkind IN ('r', 'p') AND NOT company.attnotnull ORDER BY 1
"""
# What a secret is called. Digests of content (`sha256`) are none.
_SECRETS = """
    SELECT space.nspname || '.' || class.relname AS place, kept.attname AS column,
        string_agg(role.rolname, ', ' ORDER BY role.rolname) AS roles
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    JOIN pg_catalog.pg_attribute AS kept ON kept.attrelid = class.oid AND kept.attnum > 0 AND NOT kept.attisdropped
    JOIN pg_catalog.pg_roles AS role ON role.rolname = ANY (%(serving)s)
    WHERE space.nspname = ANY (%(schemas)s) AND class.relkind IN ('r', 'p', 'v')
      AND kept.attname ~ '(^|_)(password|secret|token|digest|hash|salt|pepper|sealed|credential|private_key|pad)($|_)'
      AND has_column_privilege(role.oid, class.oid, kept.attname, 'SELECT')
    GROUP BY 1, 2 ORDER BY 1, 2
"""
_VIEWS = """
    SELECT space.nspname || '.' || class.relname AS place, class.relkind::text AS kind,
        coalesce(lower(option.option_value) IN ('true', 'on', 'yes', '1'), false) AS invoker
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    LEFT JOIN LATERAL pg_options_to_table(class.reloptions) AS option ON option.option_name = 'security_invoker'
    WHERE space.nspname = ANY (%(schemas)s) AND class.relkind IN ('v', 'm', 'f') ORDER BY 1
"""


def open_tables(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield tables without row security, without policies, or without a primary key."""
    for row in catalogue.rows(_TABLES):
        if not (row["switched_on"] and row["forced"]):
            idle = " though it has policies" if row["has_policies"] and not row["switched_on"] else ""
            yield Gap(
                row["place"], f"row security is not on and forced{idle}", "CALL scope.guard_table('…') in its migration"
            )
        elif not row["has_policies"]:
            yield Gap(row["place"], "row security is on but no policy lets anybody in", "CALL scope.guard_table('…')")
        if not row["has_key"]:
            yield Gap(row["place"], "it has no primary key", "add one, beginning with company_id where it has one")


def guards(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield tables on which scope.guard_table() was not called, or of which one of its policies was taken away."""
    for row in catalogue.rows(_GUARDS):
        yield Gap(
            row["place"],
            f"the policy that lets {row['role']} work is missing or says otherwise",
            "CALL scope.guard_table('…') once, and change nothing of what it makes",
        )


def verbs_without_policy(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield verbs that were granted though no permissive policy says which rows."""
    for row in catalogue.rows(_VERBS_WITHOUT_POLICY):
        yield Gap(
            row["place"],
            f"{row['role']} may {row['verb']} but no policy says which rows",
            "add a policy for that verb and role, or revoke the grant",
        )


def nullable_companies(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield tables whose rows may belong to no company."""
    for row in catalogue.rows(_NULLABLE_COMPANIES):
        yield Gap(row["place"], "company_id may be NULL", "ALTER COLUMN company_id SET NOT NULL")


def readable_secrets(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield columns that sound like a secret and can be read while serving."""
    for row in catalogue.rows(_SECRETS):
        yield Gap(
            row["place"],
            f"{row['roles']} may read {row['column']}, which sounds like a secret",
            "grant SELECT on the other columns alone, and let a definer function compare the secret",
        )


def views(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield what shows rows past the caller's own policies."""
    for row in catalogue.rows(_VIEWS):
        if row["kind"] == "v" and not row["invoker"]:
            yield Gap(
                row["place"], "the view runs with its owner's rights", "ALTER VIEW … SET (security_invoker = true)"
            )
        elif row["kind"] == "m":
            yield Gap(
                row["place"],
                "a materialized view keeps rows that no policy guards",
                "make it a table with policies, or a view with security_invoker",
            )
        elif row["kind"] == "f":
            yield Gap(
                row["place"], "a foreign table has no row security", "fetch the data in a job and keep it in a table"
            )


CHECKS: tuple[Check, ...] = (open_tables, guards, verbs_without_policy, nullable_companies, readable_secrets, views)
