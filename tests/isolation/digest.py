"""What the database holds of somebody, as its owner sees it: to tell whether anything of it has changed."""

from collections import Counter
from dataclasses import dataclass
from typing import LiteralString

from psycopg import sql

from tests.isolation.estate import Owner

Snapshot = Counter[tuple[str, str]]
"""How often each row is there, by its table and a digest of its text."""

_TABLES: LiteralString = """
SELECT class.relnamespace::regnamespace::text AS space, class.relname AS name FROM pg_class AS class
WHERE class.relkind IN ('r', 'p') AND class.relnamespace::regnamespace::text NOT IN ('pg_catalog', 'information_schema')
ORDER BY class.oid
"""


def snapshot(owner: Owner, *needles: object) -> Snapshot:
    """Return every row of every table whose text has one of the needles in it; every row at all for no needles."""
    rows = sql.SQL(" UNION ALL ").join(
        sql.SQL("SELECT {} AS place, md5(ours::text) AS digest FROM {} AS ours WHERE ours::text ~ %(any)s").format(
            sql.Literal(f"{each['space']}.{each['name']}"), sql.Identifier(each["space"], each["name"])
        )
        for each in owner.execute(_TABLES).fetchall()
    )
    found = owner.execute(rows, {"any": "|".join(map(str, needles))}).fetchall()
    return Counter((row["place"], row["digest"]) for row in found)


def changed(before: Snapshot, after: Snapshot) -> dict[str, tuple[int, int]]:
    """Return how many rows went and came in each table where any did. A changed row went and came."""
    went, came = Counter[str](), Counter[str]()
    for (place, _), count in (before - after).items():
        went[place] += count
    for (place, _), count in (after - before).items():
        came[place] += count
    return {place: (went[place], came[place]) for place in sorted(went | came)}


@dataclass(frozen=True)
class Moment:
    """How many rows each table had, and the number that the transactions after it surpass."""

    transaction: int
    rows: dict[str, int]


def moment(owner: Owner) -> Moment:
    """Return the present one, for `since`: cheap, whatever the tables hold."""
    now = owner.execute("SELECT pg_current_xact_id()::text::bigint AS transaction").fetchone()
    assert now is not None
    return Moment(now["transaction"], {place: total for place, (total, _) in _counted(owner, 0).items()})


def since(owner: Owner, before: Moment) -> dict[str, tuple[int, int]]:
    """Return how many rows went and came in each table where any did. A changed row went and came."""
    counted = _counted(owner, before.transaction)
    gone = {place: before.rows[place] + came - total for place, (total, came) in counted.items()}
    return {place: (gone[place], came) for place, (_, came) in counted.items() if gone[place] or came}


def _counted(owner: Owner, after: int) -> dict[str, tuple[int, int]]:
    rows = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT {} AS place, count(*) AS total, count(*) FILTER (WHERE ours.xmin::text::bigint > %(after)s) AS came"
            " FROM {} AS ours"
        ).format(sql.Literal(f"{each['space']}.{each['name']}"), sql.Identifier(each["space"], each["name"]))
        for each in owner.execute(_TABLES).fetchall()
    )
    found = owner.execute(rows, {"after": after}).fetchall()
    return {row["place"]: (row["total"], row["came"]) for row in found}
