from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import MetricId, PersonId, new_id
from operalta.workspace.metrics.rules import (
    Metric,
    MetricPoint,
    checked_date,
    checked_slug,
    checked_value,
    growth,
    parse_value,
    runway,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SOMEBODY = PersonId(new_id())


def _point(day: int, value: str) -> MetricPoint:
    return MetricPoint(date(2026, 1, day), Decimal(value), "", SOMEBODY, None, None, NOW)


def _metric(slug: str, value: str | None, unit: str = "CHF") -> Metric:
    latest = None if value is None else Decimal(value)
    return Metric(
        MetricId(new_id()), slug, slug, "", unit, "", SOMEBODY, NOW, None if value is None else date(2026, 1, 1), latest
    )


def test_growth_is_worked_out_between_days_in_order() -> None:
    grown = growth([_point(3, "150"), _point(1, "100"), _point(2, "110")])
    assert [(step.difference, step.ratio) for step in grown] == [
        (Decimal(10), Decimal("0.1")),
        (Decimal(40), Decimal(40) / Decimal(110)),
    ]
    assert growth([_point(1, "5")]) == ()


def test_growth_from_nothing_or_less_has_no_ratio() -> None:
    assert [step.ratio for step in growth([_point(1, "0"), _point(2, "-3"), _point(3, "4")])] == [None, None]


def test_runway_is_cash_by_burn() -> None:
    found = runway([_metric("cash", "120000"), _metric("net-burn", "10000", "chf")])
    assert found is not None
    assert found.months == 12
    overdrawn = runway([_metric("cash", "-5"), _metric("burn", "10")])
    assert overdrawn is not None
    assert overdrawn.months == 0


@pytest.mark.parametrize(
    ("cash", "burn"),
    [
        (_metric("cash", "100"), _metric("burn", "0")),
        (_metric("cash", "100"), _metric("burn", "-5")),
        (_metric("cash", "100"), _metric("burn", "5", "EUR")),
        (_metric("cash", "100", "users"), _metric("burn", "5", "users")),
        (_metric("cash", None), _metric("burn", "5")),
        (_metric("cash", "100"), _metric("burn", None)),
        (_metric("users", "100"), _metric("burn", "5")),
    ],
)
def test_there_is_no_runway_where_it_would_be_a_guess(cash: Metric, burn: Metric) -> None:
    assert runway([cash, burn]) is None


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_a_value_is_kept_exactly_or_refused(value: Decimal) -> None:
    try:
        kept = checked_value(value)
    except InvalidInput:
        return
    assert kept == value
    assert abs(kept) < Decimal(10) ** 18


@pytest.mark.parametrize("value", ["1e18", "-1e18", "0.0000001", "NaN", "Infinity", "1e400000"])
def test_a_value_out_of_bounds_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput):
        checked_value(Decimal(value))


@pytest.mark.parametrize("text", ["", "1e5", "1,000", "=1", "\uff11\uff12", "1_000", "0x10", "nan", "1" * 41, "1."])
def test_what_is_typed_as_a_value_is_digits(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_value(text)


def test_what_is_in_bounds_passes() -> None:
    assert parse_value(" -1200.50 ") == Decimal("-1200.5")
    assert checked_value(Decimal("999999999999999999.999999")) == Decimal("999999999999999999.999999")
    assert checked_slug("monthly-revenue") == "monthly-revenue"
    for slug in ("", "-a", "A", "a_b", "a" * 49, "größe", "a\n"):
        with pytest.raises(InvalidInput):
            checked_slug(slug)
    for day in (date(1899, 12, 31), date(2200, 1, 1)):
        with pytest.raises(InvalidInput):
            checked_date(day)
