"""The policy check on policies: what a rule says must bind the row to the scope, and nothing may be smuggled beside it.

A rule is taken apart at its outermost ANDs, and the condition that binds must be one of the parts, letter by letter:
`company_id = (SELECT scope.company_permitting('memory:read')) OR …` holds the right words and lets every row through.
"""

import re
from collections import defaultdict
from collections.abc import Iterator

from operalta.access.rules import Permission
from operalta.db.catalogue import SERVING, Catalogue, Check, Gap, Row
from operalta.db.rule_text import calls, conditions, without_literals

_POLICIES = """
    SELECT space.nspname || '.' || class.relname AS place, policy.polname AS policy, policy.polcmd::text AS verb,
        policy.polpermissive AS permissive, pg_get_expr(policy.polqual, policy.polrelid) AS read_rule,
        pg_get_expr(policy.polwithcheck, policy.polrelid) AS write_rule,
        ARRAY(SELECT coalesce(role.rolname, 'PUBLIC')::text FROM unnest(policy.polroles) AS named (oid)
            LEFT JOIN pg_catalog.pg_roles AS role ON role.oid = named.oid ORDER BY 1) AS roles,
        EXISTS (SELECT FROM pg_catalog.pg_attribute AS kept WHERE kept.attrelid = class.oid
            AND kept.attname = 'company_id' AND NOT kept.attisdropped) AS of_company,
        EXISTS (SELECT FROM pg_catalog.pg_attribute AS kept WHERE kept.attrelid = class.oid
            AND kept.attname = 'private_to' AND NOT kept.attisdropped) AS has_private_rows
    FROM pg_catalog.pg_policy AS policy JOIN pg_catalog.pg_class AS class ON class.oid = policy.polrelid
    JOIN pg_catalog.pg_namespace AS space ON space.oid = class.relnamespace
    WHERE space.nspname = ANY (%(schemas)s) ORDER BY 1, 2
"""

# ── The conditions that bind a row to the scope, as the server writes them out ────────────────────────
_OF_COMPANY = re.compile(
    r"company_id = \( SELECT scope\.company_permitting\('[a-z:_]+'::text\) AS company_permitting\)"
)
_OF_MEMBER = re.compile(
    r"scope\.is_company_member_with_role\(company_id, "
    r"\( SELECT scope\.roles_permitted\('[a-z:_]+'::text\) AS roles_permitted\)\)"
)
_OF_SCOPE = re.compile(
    r"\w+ = \( SELECT scope\.(scope_(?:company|person|session|run)|session_person)\(\) AS \1\)"
    r"|\w+ = ANY \(\( SELECT scope\.colleagues\(\) AS colleagues\)::uuid\[\]\)"
    r"|SELECT scope\.scope_is_operator\(\) AS scope_is_operator"
)
_OF_ONE_PERSON = re.compile(
    r"\(private_to IS NULL\) OR \(private_to = \( SELECT scope\.scope_reader\(\) AS scope_reader\)\)"
    r"|\w+ = \( SELECT scope\.(scope_(?:session|run)|session_person)\(\) AS \1\)"
)
_ASKED_PERMISSION = re.compile(r"scope\.(?:may|roles_permitted|company_permitting)\('([^']*)'::text\)")

# These take the row's own columns, so they are called for each row; each is for rows that are written.
_OF_EACH_ROW = frozenset({"is_company_member_with_role", "may_grant"})
_CALLERS_OWN = re.compile(
    r"\b(current_setting|current_user|session_user|current_role|user|pg_has_role)\b", re.IGNORECASE
)
_PERMISSIONS = frozenset(permission.value for permission in Permission)

_VERBS = {"r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE", "*": "every verb"}
# Which rules a policy for a verb has: USING for rows that are there, WITH CHECK for rows as they will be.
_NEEDED = {
    "r": (("read_rule", "USING"),),
    "a": (("write_rule", "WITH CHECK"),),
    "w": (("read_rule", "USING"), ("write_rule", "WITH CHECK")),
    "d": (("read_rule", "USING"),),
    "*": (("read_rule", "USING"), ("write_rule", "WITH CHECK")),
}


def policies(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield what is open in each policy by itself."""
    known = set(catalogue.names["ours"])
    inner = {catalogue.owner, catalogue.names["definer"]}
    for row in catalogue.rows(_POLICIES):
        yield from _audience(row, known)
        # The owner migrates, the definer's functions decide for themselves: scope.guard_table() lets them see all.
        if set(row["roles"]) <= inner:
            continue
        yield from _reach(row)
        if not row["permissive"]:
            yield from _restriction(row)
        elif row["of_company"]:
            yield from _company_policy(row)
        else:
            yield from _other_policy(row)


def _audience(row: Row, known: set[str]) -> Iterator[Gap]:
    for role in row["roles"]:
        if role == "PUBLIC":
            yield Gap(row["place"], f"policy {row['policy']} is for every role", "name the roles it is for")
        elif role not in known:
            yield Gap(
                row["place"], f"policy {row['policy']} is for {role}, no role of ours", "DROP POLICY, or name ours"
            )


def _reach(row: Row) -> Iterator[Gap]:
    """Yield what a rule calls or reads that it should not."""
    name, place = row["policy"], row["place"]
    rules = f"{row['read_rule'] or ''} {row['write_rule'] or ''}"
    if re.search(r"\bmemberships\b", without_literals(rules)):
        yield Gap(place, f"policy {name} reads the membership table", "call a scope function instead")
    for schema, function, once in sorted(set(calls(rules))):
        if schema != "scope":
            yield Gap(
                place,
                f"policy {name} calls {schema}.{function}",
                "policies call functions of schema scope alone: write one there, or compare columns",
            )
        elif not once and function not in _OF_EACH_ROW:
            yield Gap(
                place,
                f"policy {name} calls scope.{function} for each row",
                f"write (SELECT scope.{function}(…)), which is planned once a statement",
            )
    for found in sorted({each.lower() for each in _CALLERS_OWN.findall(without_literals(rules))}):
        yield Gap(
            place,
            f"policy {name} trusts {found}, which the caller can choose",
            "ask a scope function: those verify what the database itself signed",
        )
    for permission in sorted(set(_ASKED_PERMISSION.findall(rules)) - _PERMISSIONS):
        yield Gap(
            place,
            f"policy {name} asks for the permission {permission}, which there is not",
            "name a permission of access/rules.py",
        )


def _restriction(row: Row) -> Iterator[Gap]:
    # It takes rows away from what other policies give, and gives none itself, so it need not bind.
    if any(_always_true(row[kind]) for kind, _ in _NEEDED[row["verb"]] if row[kind] is not None):
        yield Gap(
            row["place"],
            f"restrictive policy {row['policy']} restricts nothing",
            "say what it takes away, or DROP POLICY",
        )


def _company_policy(row: Row) -> Iterator[Gap]:
    name, place = row["policy"], row["place"]
    if row["verb"] == "*":
        yield Gap(place, f"policy {name} is for every verb at once", "write one for each verb that is granted")
    for kind, rule in _NEEDED[row["verb"]]:
        holds = conditions(row[kind] or "")
        if row["verb"] in {"r", "*"} and kind == "read_rule":
            if not any(_OF_COMPANY.fullmatch(condition) for condition in holds):
                yield Gap(
                    place,
                    f"{rule} of read policy {name} does not demand the scope's company and a permission there",
                    "make company_id = (SELECT scope.company_permitting('…')) one of its conditions, joined by AND",
                )
        elif not any(_OF_MEMBER.fullmatch(condition) for condition in holds):
            yield Gap(
                place,
                f"{rule} of write policy {name} does not demand the membership",
                "make scope.is_company_member_with_role(company_id, (SELECT scope.roles_permitted('…'))) one of its "
                "conditions, joined by AND",
            )
        private = any(_OF_ONE_PERSON.fullmatch(condition) for condition in holds)
        if row["has_private_rows"] and kind == "read_rule" and not private:
            yield Gap(
                place,
                f"{rule} of policy {name} reaches other people's private rows",
                "make (private_to IS NULL OR private_to = (SELECT scope.scope_reader())) one of its conditions",
            )


def _other_policy(row: Row) -> Iterator[Gap]:
    # A table of people, or of nobody: what serves binds to the scope as well, or is a reviewed exception.
    for kind, rule in _NEEDED[row["verb"]]:
        if _always_true(row[kind]):
            yield Gap(
                row["place"],
                f"{rule} of policy {row['policy']} lets every row through",
                "say which rows: (SELECT scope.scope_person()) or another scope function must be in it",
            )
        elif not any(_OF_SCOPE.fullmatch(condition) for condition in conditions(row[kind])):
            yield Gap(
                row["place"],
                f"{rule} of policy {row['policy']} does not bind to the scope",
                "make a comparison with (SELECT scope.scope_person()), or another of scope's, one of its conditions",
            )


def _always_true(rule: str | None) -> bool:
    return rule is None or all(condition == "true" for condition in conditions(rule))


def several_policies(catalogue: Catalogue) -> Iterator[Gap]:
    """Yield where several permissive policies add up: a row passes when any one of them lets it."""
    found: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for row in catalogue.rows(_POLICIES):
        for verb in "rawd" if row["verb"] == "*" else row["verb"]:
            for role in set(row["roles"]) & {*SERVING, "PUBLIC"} if row["permissive"] else ():
                found[row["place"], verb, role].add(row["policy"])
    adding: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for (place, verb, role), names in sorted(found.items()):
        if len(names) > 1:
            adding[place, verb, tuple(sorted(names))].append(role)
    for (place, verb, names), added in adding.items():
        yield Gap(
            place,
            f"the policies {' and '.join(names)} add up for {' and '.join(added)} and {_VERBS[verb]}",
            "make one of them; what must hold besides goes into a restrictive policy",
        )


CHECKS: tuple[Check, ...] = (policies, several_policies)
