"""Every function that a database role may execute, from the catalogue, and what it is called with."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql

from tests.isolation.estate import Company, Owner

TOO_LONG = "x" * 100_000
WORDS = ("", "plan", "session", "ticket", "phone", "enrol_phone", "sign_in", "founder", "%", TOO_LONG)
"""Among them a word that both companies' texts have in common, which searches find."""
TEXTS = ("text", "character varying")
NUMBERS = (0, -1, 2**31 - 1)
_FUNCTIONS: LiteralString = """
SELECT function.oid::regprocedure::text AS signature, space.nspname AS space, function.proname AS name,
    coalesce(function.proargnames, '{}') AS names, function.prorettype = 'trigger'::regtype AS is_trigger,
    array(SELECT format_type(type, NULL) FROM unnest(function.proargtypes) WITH ORDINALITY AS given (type, place)
        ORDER BY place) AS types
FROM pg_proc AS function JOIN pg_namespace AS space ON space.oid = function.pronamespace
WHERE space.nspname NOT IN ('pg_catalog', 'information_schema') AND function.prokind = 'f'
  AND has_schema_privilege(%(role)s, space.oid, 'USAGE') AND has_function_privilege(%(role)s, function.oid, 'EXECUTE')
ORDER BY signature
"""
# Every id of a company that stands in a column called `id`, whichever table it is in.
_ID_COLUMNS: LiteralString = """
SELECT class.relnamespace::regnamespace::text AS space, class.relname AS name FROM pg_class AS class
JOIN pg_attribute AS attribute ON attribute.attrelid = class.oid AND attribute.attname = 'id'
    AND attribute.atttypid = 'uuid'::regtype AND NOT attribute.attisdropped
WHERE class.relkind = 'r' ORDER BY class.oid
"""


@dataclass(frozen=True)
class Function:
    """A function with the names and types of what it takes."""

    signature: str
    name: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    call: sql.Composed


def executable_by(owner: Owner, role: str) -> list[Function]:
    """Return every function that a role may execute, triggers left out: those cannot be called."""
    return [
        Function(
            row["signature"],
            f"{row['space']}.{row['name']}",
            tuple(row["names"][: len(row["types"])]),
            tuple(row["types"]),
            sql.SQL("SELECT * FROM {}({})").format(
                sql.Identifier(row["space"], row["name"]),
                sql.SQL(", ").join(sql.SQL("%s::" + type_name) for type_name in row["types"]),
            ),
        )
        for row in owner.execute(_FUNCTIONS, {"role": role}).fetchall()
        if not row["is_trigger"]
    ]


def ids_of(owner: Owner, company: Company, of_each: int = 1000) -> list[str]:
    """Return the ids that have to do with a company, so many of each kind."""
    found = {str(company.id), *(str(person.session_id) for person in company.people.values())}
    found |= {str(person.id) for person in company.people.values()}
    for table in owner.execute(_ID_COLUMNS).fetchall():
        query = sql.SQL("SELECT id::text AS id FROM {} AS ours WHERE strpos(ours::text, %s) > 0 LIMIT %s").format(
            sql.Identifier(table["space"], table["name"])
        )
        found |= {row["id"] for row in owner.execute(query, (company.mark, of_each)).fetchall()}
    return sorted(found)


def calls(function: Function, ids: list[str], company: Company) -> Iterator[list[Any]]:
    """Yield arguments: foreign ids, NULLs, empty and over-long texts, ids of the wrong kind, by type and by name."""
    texts = (*WORDS, company.slug, str(company.id), company.people["founder"].email, f"+1{company.mark}")
    plausible = [_plausible(function, place, ids[0], company) for place in range(len(function.types))]
    yield plausible
    if not function.types:
        return
    yield [None] * len(function.types)
    for place in range(len(plausible)):
        yield _with(plausible, place, None)
        if function.types[place] in TEXTS:
            yield from (_with(plausible, place, text) for text in texts)
    for type_name, values in (
        ("uuid", ids),
        *((type_name, texts) for type_name in TEXTS),
        ("integer", NUMBERS),
        ("bigint", NUMBERS),
        ("bytea", (b"", bytes(32), b"x" * 10_000)),
        ("boolean", (False,)),
        ("uuid[]", (ids, [None])),
        ("text[]", ([*texts], [None])),
        ("bytea[]", ([b""], [bytes(32)] * 30, [None])),
        ("jsonb", ("[]", "null", '"x"')),
    ):
        if type_name in function.types:
            for value in values:
                yield [
                    value if held == type_name else given for held, given in zip(function.types, plausible, strict=True)
                ]


def _with(arguments: list[Any], place: int, value: object) -> list[Any]:
    return [*arguments[:place], value, *arguments[place + 1 :]]


def _plausible(function: Function, place: int, an_id: str, company: Company) -> object:
    """Return what such an argument usually is, so that the others are looked at."""
    by_type: dict[str, object] = {"uuid": an_id, "bytea": b"x" * 32, "boolean": True, "jsonb": "{}"}
    by_type |= dict.fromkeys(TEXTS, company.slug) | dict.fromkeys(("integer", "bigint"), 10)
    by_name: dict[str, object] = {
        "kind": "session",
        "task": "run_agent",
        "wanted": company.slug if function.name.startswith("tenancy.") else "sign_in",
        "as_role": "support",
        "wanted_kind": None,
        "outcome": "sent",
        "email": company.people["founder"].email,
        "email_key": company.people["founder"].email,
        "role": "founder",
        "secret": "guessed",
        "token": "guessed",
        "reason": "a reason that is long enough",
        "beyond": "",
    }
    name = function.names[place] if place < len(function.names) else ""
    type_name = function.types[place]
    return by_name[name] if type_name in TEXTS and name in by_name else by_type.get(type_name)
