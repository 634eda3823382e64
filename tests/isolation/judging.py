"""What the law expects of a cell of the matrix of tables, against what is observed there."""

from collections.abc import Iterator
from typing import Any, LiteralString

from tests.isolation.actors import Actor, somebody_else
from tests.isolation.estate import Company, Estate
from tests.isolation.expectations import BEYOND_COMPANIES, DELETE, EVERY, INSERT, LAWS, SELECT, UPDATE, Law
from tests.isolation.matrix import DENIED, REFUSED, Rows, Seat, Table, fixed, same

Wrong = tuple[object, ...]
TOLD = ("company", "person", "account", "reader", "run", "operator", "sees_colleagues", "manages_keys")
MARKED: LiteralString = "strpos(ours::text, %(mark)s) > 0"


class Cells:
    """The cells of one actor, whose scope is open."""

    def __init__(self, actor: Actor, estate: Estate, seat: Seat) -> None:
        self._actor = actor
        self._estate = estate
        self._seat = seat
        self._facts = actor.facts(estate)
        self._foreign = actor.foreign(estate)

    def judged(self, table: Table, verb: str) -> Iterator[Wrong]:
        """Yield what is not as the law has it. Raise AssertionError where something of another company was seen."""
        law = next((each for each in LAWS[table.name] if each.covers(self._actor.database_role, verb)), None)
        if law is None:
            if (observed := self._forbidden(table, verb)) != DENIED:
                yield (self._actor.name, verb, table.name, "to be denied", observed)
            return
        judge = {SELECT: self._select, INSERT: self._insert, UPDATE: self._update, DELETE: self._delete}[verb]
        for how, expected, observed in judge(table, law):
            if observed != expected:
                yield (self._actor.name, verb, table.name, how, "expected", expected, "observed", observed)

    def _forbidden(self, table: Table, verb: str) -> object:
        column = table.a_column
        if verb == SELECT:
            rows = self._seat.select(table, (column,))
            self._assert_nothing_foreign(table, rows)
            return rows
        if verb == INSERT:
            return self._seat.insert(table, (column,), (None,))
        if verb == UPDATE:
            return self._seat.update(table, same(table, (column,)), None, self._others(table))
        return self._seat.delete(table, self._others(table))

    def _select(self, table: Table, law: Law) -> Iterator[tuple[str, object, object]]:
        columns = law.columns_of(table.columns)
        observed = self._seat.select(table, columns)
        self._assert_nothing_foreign(table, observed)
        yield "rows", self._rows(table, law, columns), observed

    def _delete(self, table: Table, law: Law) -> Iterator[tuple[str, object, object]]:
        yield "rows", self._count(table, law), self._seat.delete(table, self._others(table))

    def _update(self, table: Table, law: Law) -> Iterator[tuple[str, object, object]]:
        columns, reached = law.columns_of(table.columns), self._count(table, law)
        unchanged = self._seat.update(table, same(table, columns), None, self._others(table))
        if not law.values:
            yield "each column to itself", reached, unchanged
        elif unchanged != REFUSED:
            yield "no more than the law's rows", True, isinstance(unchanged, int) and unchanged <= reached
        values, facts = law.values, self._facts
        if not values and law.rows != EVERY:
            values, facts = self._constants(table, columns)
        if values:
            yield "without reading", reached, self._seat.update(table, fixed(values), facts, self._others(table))

    def _constants(self, table: Table, columns: tuple[str, ...]) -> tuple[dict[str, LiteralString], dict[str, Any]]:
        """Return the values of some row, so that a change of all rows to them reads none."""
        company = self._actor.company_in(self._estate) or self._estate.startup
        row = self._seat.ground.copied(table, columns, MARKED, {}, {"mark": company.mark})
        assert row is not None, (table.name, "no row to take values from")
        values: dict[str, Any] = {column: f"%({column})s::{table.columns[column]}" for column in columns}
        return values, dict(zip(columns, row, strict=True))

    def _insert(self, table: Table, law: Law) -> Iterator[tuple[str, object, object]]:
        columns = law.columns_of(table.columns)
        allowed = 1 if self._actor.holds(law.needs) else REFUSED
        own = self._copied(table, law, columns)
        if own is not None:
            yield "as oneself", allowed, self._seat.insert(table, columns, own)
        company = self._actor.company_in(self._estate)
        if company is not None and any("%(self" in value for value in law.values.values()):
            passed_off = self._copied(table, law, columns, somebody_else(self._actor, company))
            if passed_off is not None:
                yield "as somebody else", REFUSED, self._seat.insert(table, columns, passed_off)
        if "company_id" not in columns:
            return
        for foreign in self._foreign:
            facts = self._facts | {"mark": foreign.mark}
            theirs = self._seat.ground.copied(table, columns, MARKED, law.values, facts)
            assert theirs is not None, (table.name, "no foreign row to copy")
            yield "a copy of a foreign row", REFUSED, self._seat.insert(table, columns, theirs)
            if own is not None:
                smuggled = tuple(
                    str(foreign.id) if column == "company_id" else value
                    for column, value in zip(columns, own, strict=True)
                )
                yield "an own row into a foreign company", REFUSED, self._seat.insert(table, columns, smuggled)

    def _copied(
        self, table: Table, law: Law, columns: tuple[str, ...], other: dict[str, Any] | None = None
    ) -> tuple[str | None, ...] | None:
        return self._seat.ground.copied(table, columns, law.rows, law.values, self._facts | (other or {}))

    def _rows(self, table: Table, law: Law, columns: tuple[str, ...]) -> Rows:
        if not self._actor.holds(law.needs):
            return Rows()
        told = {name: self._facts[name] for name in TOLD}
        return self._seat.ground.rows(table, columns, law.rows, *told.items())

    def _count(self, table: Table, law: Law) -> int:
        return self._rows(table, law, tuple(table.columns)).total()

    def _others(self, table: Table) -> list[Company]:
        """Return the companies whose rows here nobody like this may see or touch, whatever the law says."""
        return [] if (self._actor.name, table.name) in BEYOND_COMPANIES else self._foreign

    def _assert_nothing_foreign(self, table: Table, observed: Rows | str) -> None:
        seen = str(list(observed))
        for company in self._others(table):
            assert company.mark not in seen, (self._actor.name, "saw rows of another company in", table.name)
            assert company.canary not in seen, (self._actor.name, "saw texts of another company in", table.name)
