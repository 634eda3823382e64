"""Mutants of tables, policies and keys: one of each sort for everything that the catalogue holds."""

import re
from collections.abc import Iterator

from operalta.db.catalogue import Catalogue
from tests.db.mutants import (
    EVERY_ROW,
    NO_COMPANY,
    NO_MEMBER,
    Mutant,
    batch,
    exchanged,
    policies,
    recreated,
    rewritten,
    rows,
    tables,
)

OF_COMPANY = re.compile(r"company_id = \( SELECT scope\.company_permitting\('[a-z:]+'::text\) AS company_permitting\)")
PRIVATE = "(private_to IS NULL) OR (private_to = ( SELECT scope.scope_reader() AS scope_reader))"


# ── Tables ────────────────────────────────────────────────────────────────────────────────────────────
@batch
def force_off(catalogue: Catalogue) -> Iterator[Mutant]:
    for table in tables(catalogue):
        yield Mutant(f"ALTER TABLE {table['place']} NO FORCE ROW LEVEL SECURITY", table["place"], "not on and forced")


@batch
def row_security_off(catalogue: Catalogue) -> Iterator[Mutant]:
    for table in tables(catalogue):
        yield Mutant(
            f"ALTER TABLE {table['place']} DISABLE ROW LEVEL SECURITY", table["place"], "though it has policies"
        )


@batch
def no_policy_at_all(catalogue: Catalogue) -> Iterator[Mutant]:
    found = rows(catalogue, "SELECT polrelid::regclass::text AS place, polname AS name FROM pg_policy ORDER BY 1, 2")
    for policy in found:
        yield Mutant(f"DROP POLICY {policy['name']} ON {policy['place']}", policy["place"], "lets anybody in")


@batch
def guards_gone(catalogue: Catalogue) -> Iterator[Mutant]:
    for number, table in enumerate(tables(catalogue)):
        name, role = (("owner_everything", "operalta_owner"), ("definer_functions", "operalta_definer"))[number % 2]
        yield Mutant(f"DROP POLICY {name} ON {table['place']}", table["place"], f"lets {role} work is missing")


@batch
def new_tables(_: Catalogue) -> Iterator[Mutant]:
    yield Mutant("CREATE TABLE workspace.fresh (company_id uuid, id uuid)", "workspace.fresh", "not on and forced")
    yield Mutant("CREATE TABLE agents.keyless (id uuid)", "agents.keyless", "it has no primary key")
    yield Mutant("CREATE TABLE stray (id uuid PRIMARY KEY)", "public.stray", "schema public is for the number")
    yield Mutant("CREATE TABLE sandbox.part () INHERITS (sandbox.egress_log)", "sandbox.part", "not on and forced")
    yield Mutant(
        "CREATE TABLE tenancy.rooms (id uuid PRIMARY KEY, tenant uuid REFERENCES tenancy.companies)",
        "tenancy.rooms",
        "it names its company in tenant",
    )


@batch
def companies_may_be_missing(catalogue: Catalogue) -> Iterator[Mutant]:
    for table in tables(catalogue):
        if table["of_company"] and f"company_id may be NULL at {table['place']}" not in _nullable_now(catalogue):
            yield Mutant(
                f"ALTER TABLE {table['place']} DROP CONSTRAINT IF EXISTS {table['key']} CASCADE;"
                f" ALTER TABLE {table['place']} ALTER COLUMN company_id DROP NOT NULL",
                table["place"],
                "company_id may be NULL",
            )


def _nullable_now(catalogue: Catalogue) -> set[str]:
    found = rows(
        catalogue,
        "SELECT 'company_id may be NULL at ' || attrelid::regclass AS told FROM pg_attribute"
        " WHERE attname = 'company_id' AND NOT attnotnull",
    )
    return {row["told"] for row in found}


# ── Policies ──────────────────────────────────────────────────────────────────────────────────────────
@batch
def policies_dropped(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        yield Mutant(f"DROP POLICY {policy['name']} ON {policy['place']}", policy["place"], "no policy says which rows")


@batch
def always_true(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        yield from rewritten(policy, "true", "" if policy["of_company"] else EVERY_ROW)


@batch
def or_true(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        yield from rewritten(policy, "{} OR true")


@batch
def or_company_is_there(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        if policy["of_company"]:
            yield from rewritten(policy, "{} OR company_id IS NOT NULL")


@batch
def or_nobody_asks(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        yield from rewritten(policy, "(SELECT scope.scope_person()) IS NULL OR {}")


@batch
def or_inside_the_company_condition(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        for bound in _bound(policy):
            yield from exchanged(policy, bound, f"({bound} OR company_id IS NOT NULL)")


@batch
def another_comparison(catalogue: Catalogue) -> Iterator[Mutant]:
    for number, policy in enumerate(policies(catalogue)):
        for bound in _bound(policy):
            others = (bound.replace(" = ", " <> "), bound.replace(" = ", " >= "), "company_id = company_id")
            yield from exchanged(policy, bound, others[number % len(others)])


def _bound(policy: dict[str, str]) -> set[str]:
    return set(OF_COMPANY.findall(policy["read_rule"] or ""))


@batch
def fixed_roles(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        for asked in _asked(policy):
            yield from exchanged(policy, asked, "ARRAY['observer']", NO_MEMBER)


def _asked(policy: dict[str, str]) -> set[str]:
    rules = f"{policy['read_rule']} {policy['write_rule']}"
    start = "( SELECT scope.roles_permitted("
    return {f"{start}{rest.split(')')[0]}) AS roles_permitted)" for rest in rules.split(start)[1:]}


@batch
def without_permission(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        if policy["of_company"] and policy["verb"] == "SELECT":
            yield Mutant(
                f"ALTER POLICY {policy['name']} ON {policy['place']}"
                " USING (company_id = (SELECT scope.scope_company()))",
                policy["place"],
                NO_COMPANY,
            )


@batch
def for_each_row(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        for name in () if policy["of_company"] else ("company", "person"):
            planned, bare = f"( SELECT scope.scope_{name}() AS scope_{name})", f"scope.scope_{name}()"
            yield from exchanged(policy, planned, bare, f"calls scope.scope_{name} for each row")
        for bound in _bound(policy):
            bare = bound.replace("( SELECT ", "").replace(" AS company_permitting)", "")
            yield from exchanged(policy, bound, bare, "calls scope.company_permitting for each row")


@batch
def without_check(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        if policy["verb"] == "UPDATE":
            sql = recreated(policy, "PERMISSIVE", "UPDATE", checked=False)
            yield Mutant(sql, policy["place"], f"WITH CHECK of write policy {policy['name']}")


@batch
def for_all_verbs(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        if policy["of_company"] and policy["verb"] == "SELECT":
            sql = recreated(policy, "PERMISSIVE", "ALL", checked=True)
            yield Mutant(sql, policy["place"], "is for every verb at once")


@batch
def for_everybody(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        yield Mutant(
            f"ALTER POLICY {policy['name']} ON {policy['place']} TO PUBLIC",
            policy["place"],
            f"policy {policy['name']} is for every role",
        )


@batch
def for_strangers(catalogue: Catalogue) -> Iterator[Mutant]:
    yield Mutant("CREATE ROLE passer_by", "workspace.files", "is for passer_by")
    for policy in policies(catalogue):
        yield Mutant(
            f"ALTER POLICY {policy['name']} ON {policy['place']} TO passer_by", policy["place"], "is for passer_by"
        )


@batch
def restricting_alone(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        sql = recreated(policy, "RESTRICTIVE", policy["verb"], checked=True)
        yield Mutant(sql, policy["place"], "no policy says which rows")


@batch
def restricting_nothing(catalogue: Catalogue) -> Iterator[Mutant]:
    for table in tables(catalogue):
        yield Mutant(
            f"CREATE POLICY idle ON {table['place']} AS RESTRICTIVE FOR SELECT TO operalta_web USING (true)",
            table["place"],
            "restrictive policy idle restricts nothing",
        )


@batch
def one_policy_more(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        using = "" if policy["verb"] == "INSERT" else f"USING ({policy['read_rule']})"
        check = f"WITH CHECK ({policy['write_rule']})" if policy["write_rule"] else ""
        yield Mutant(
            f"CREATE POLICY more_{policy['name']} ON {policy['place']} FOR {policy['verb']} TO {policy['roles']}"
            f" {using} {check}",
            policy["place"],
            f"more_{policy['name']}",
        )


@batch
def private_rows_open(catalogue: Catalogue) -> Iterator[Mutant]:
    for policy in policies(catalogue):
        if policy["has_private_rows"] and PRIVATE in (policy["read_rule"] or ""):
            rule = policy["read_rule"].replace(PRIVATE, f"{PRIVATE} OR (private_to IS NOT NULL)")
            sql = f"ALTER POLICY {policy['name']} ON {policy['place']} USING ({rule})"
            yield Mutant(sql, policy["place"], "reaches other people's private rows")


@batch
def calls_of_all_sorts(catalogue: Catalogue) -> Iterator[Mutant]:
    yield Mutant(
        "CREATE FUNCTION workspace.fine(uuid) RETURNS boolean LANGUAGE sql SET search_path = '' AS 'SELECT true';"
        " GRANT EXECUTE ON FUNCTION workspace.fine TO PUBLIC",
        "workspace.fine",
        "every role holds EXECUTE",
    )
    added = (
        ("EXISTS (SELECT FROM tenancy.memberships)", "reads the membership table"),
        ("workspace.fine(company_id)", "calls workspace.fine"),
        ("current_setting('app.company', true) = company_id::text", "trusts current_setting"),
        ("CURRENT_USER = 'operalta_web'", "trusts current_user"),
        ("(SELECT scope.may('everything:do'))", "asks for the permission everything:do, which there is not"),
    )
    wanted = [policy for policy in policies(catalogue) if policy["of_company"] and policy["verb"] == "SELECT"]
    for number, policy in enumerate(wanted):
        condition, fault = added[number % len(added)]
        yield Mutant(
            f"ALTER POLICY {policy['name']} ON {policy['place']} USING ({policy['read_rule']} AND {condition})",
            policy["place"],
            fault,
        )


# ── Keys and indexes ──────────────────────────────────────────────────────────────────────────────────
@batch
def unique_without_company(catalogue: Catalogue) -> Iterator[Mutant]:
    for table in tables(catalogue):
        if table["of_company"] and table["written"]:
            yield Mutant(
                f"CREATE UNIQUE INDEX telling_{table['name']} ON {table['place']} ({table['column']})",
                table["place"],
                f"unique key telling_{table['name']} looks past row security",
            )


@batch
def excluding_without_company(_: Catalogue) -> Iterator[Mutant]:
    yield Mutant(
        "ALTER TABLE workspace.metrics ADD CONSTRAINT telling EXCLUDE USING btree (slug WITH =)",
        "workspace.metrics",
        "unique key telling looks past row security",
    )


def company_keys(catalogue: Catalogue) -> list[dict[str, str]]:
    return rows(
        catalogue,
        """
        SELECT key.conname AS key, key.conrelid::regclass::text AS place, key.confrelid::regclass::text AS target,
            (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[2]) AS here,
            (SELECT attname FROM pg_attribute WHERE attrelid = confrelid AND attnum = confkey[2]) AS there,
            has_any_column_privilege('operalta_web', key.confrelid, 'INSERT, UPDATE')
                OR has_any_column_privilege('operalta_worker', key.confrelid, 'INSERT, UPDATE') AS target_is_written
        FROM pg_constraint AS key JOIN pg_class AS class ON class.oid = key.conrelid
        WHERE key.contype = 'f' AND cardinality(key.conkey) = 2
          AND (has_any_column_privilege('operalta_web', class.oid, 'INSERT, UPDATE')
            OR has_any_column_privilege('operalta_worker', class.oid, 'INSERT, UPDATE')) ORDER BY 1
        """,
    )


@batch
def foreign_keys_without_company(catalogue: Catalogue) -> Iterator[Mutant]:
    for target, column in sorted(
        {(key["target"], key["there"]) for key in company_keys(catalogue) if key["target_is_written"]}
    ):
        name = f"alone_{target.replace('.', '_')}"
        yield Mutant(
            f"ALTER TABLE {target} ADD CONSTRAINT {name} UNIQUE ({column})", target, f"unique key {name} looks past"
        )
    for key in company_keys(catalogue):
        # A foreign key needs a unique one, which is a weakness of its own only where a serving role writes.
        target = key["target"]
        index = f"CREATE UNIQUE INDEX IF NOT EXISTS alone_{target.replace('.', '_')} ON {target} ({key['there']})"
        yield Mutant(
            f"{index}; ALTER TABLE {key['place']} ADD CONSTRAINT lone_{key['key']} FOREIGN KEY ({key['here']})"
            f" REFERENCES {key['target']} ({key['there']})",
            key["place"],
            f"foreign key lone_{key['key']} looks past row security",
        )


@batch
def foreign_keys_into_another_company(_: Catalogue) -> Iterator[Mutant]:
    yield Mutant(
        "ALTER TABLE workspace.records ADD COLUMN theirs uuid; ALTER TABLE workspace.records ADD CONSTRAINT across"
        " FOREIGN KEY (theirs, supersedes_id) REFERENCES workspace.records (company_id, id)",
        "workspace.records",
        "foreign key across looks past row security",
    )


@batch
def foreign_keys_not_enforced(catalogue: Catalogue) -> Iterator[Mutant]:
    for key in company_keys(catalogue):
        yield Mutant(
            f"ALTER TABLE {key['place']} ALTER CONSTRAINT {key['key']} NOT ENFORCED",
            key["place"],
            f"constraint {key['key']} is not in force",
        )


@batch
def people_named_freely(_: Catalogue) -> Iterator[Mutant]:
    yield Mutant(
        "ALTER POLICY scoped_insert ON workspace.metrics WITH CHECK (scope.is_company_member_with_role(company_id,"
        " (SELECT scope.roles_permitted('metrics:write'))))",
        "workspace.metrics",
        "metrics_created_by_fkey tells whether any person exists",
    )
    yield Mutant(
        "GRANT INSERT (accepted_by) ON tenancy.invitations TO operalta_web",
        "tenancy.invitations",
        "invitations_accepted_by_fkey tells whether any person exists",
    )


@batch
def deletions_without_index(_: Catalogue) -> Iterator[Mutant]:
    for table in ("workspace.metrics", "identity.sessions", "agents.runs"):
        name = table.partition(".")[2]
        yield Mutant(
            f"ALTER TABLE {table} ADD UNIQUE (id); CREATE TABLE sandbox.of_{name} (id uuid PRIMARY KEY,"
            f" of uuid REFERENCES {table} (id) ON DELETE CASCADE)",
            f"sandbox.of_{name}",
            "reads the whole table",
        )
    yield Mutant("DROP INDEX identity.sessions_person", "identity.sessions", "sessions_person_id_fkey reads the whole")


@batch
def indexes_twice(catalogue: Catalogue) -> Iterator[Mutant]:
    for index in rows(
        catalogue,
        "SELECT indrelid::regclass::text AS place, pg_get_indexdef(indexrelid) AS made FROM pg_index"
        " WHERE NOT indisunique AND indrelid::regclass::text ~ '^(agents|audit|identity|tenancy|workspace)\\.'",
    ):
        head, _, rest = index["made"].partition(" ON ")
        yield Mutant(f"{head}_twice ON {rest}", index["place"], "_twice are the same")
