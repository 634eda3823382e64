"""What a metric is, bounds on its values, and the arithmetic on its points. Pure; decimal throughout."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation, localcontext
from itertools import pairwise

from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import MetricId, PersonId, RunId
from operalta.kernel.texts import checked_line, checked_text

LONGEST_NAME = 120
LONGEST_DEFINITION = 2_000
LONGEST_UNIT = 20
LONGEST_SOURCE = 200
LONGEST_NOTE = 400
WHOLE_DIGITS = 18
FRACTION_DIGITS = 6
EARLIEST, LATEST = date(1900, 1, 1), date(2199, 12, 31)
CASH_SLUGS = ("cash", "cash-balance", "cash-in-bank")
BURN_SLUGS = ("burn", "net-burn", "monthly-burn", "burn-rate")
MONEY_UNITS = frozenset(
    """AED ARS AUD BRL CAD CHF CLP CNY COP CZK DKK EGP EUR GBP HKD HUF IDR ILS INR JPY KES KRW MXN MYR NGN NOK NZD
    PEN PHP PKR PLN RON RUB SAR SEK SGD THB TRY TWD UAH USD VND ZAR € $ £ ¥ ₹ ₩ ₪""".split()  # noqa: SIM905 - a list of fifty strings reads worse
)

_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_LONGEST_NUMBER = 40


@dataclass(frozen=True, slots=True)
class Description:
    """What people say about a metric, checked."""

    name: str
    definition: str
    unit: str
    source: str


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured. The latest point tells how fresh it is; both are None before there is one."""

    id: MetricId
    slug: str
    name: str
    definition: str
    unit: str
    source: str
    created_by: PersonId
    created_at: datetime
    latest_on: date | None
    latest_value: Decimal | None

    @property
    def is_money(self) -> bool:
        """Whether the unit is a currency."""
        return self.unit.upper() in MONEY_UNITS


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One value on one day, and who recorded it last (`run_id`: the agent's run that did so for them)."""

    on_date: date
    value: Decimal
    note: str
    recorded_by: PersonId
    recorded_by_name: str | None
    run_id: RunId | None
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class MetricWithPoints:
    """A metric and its points, oldest first."""

    metric: Metric
    points: tuple[MetricPoint, ...]


@dataclass(frozen=True, slots=True)
class Growth:
    """From one point to the next: the difference, and its ratio to the earlier value (0.1 is 10 % more).

    The ratio is None where the earlier value is not above zero: there it says nothing.
    """

    since: date
    until: date
    difference: Decimal
    ratio: Decimal | None


@dataclass(frozen=True, slots=True)
class Runway:
    """How many months the cash lasts at the present burn a month, worked out from their latest points."""

    months: Decimal
    cash: Decimal
    burn: Decimal
    unit: str
    cash_on: date
    burn_on: date


def checked_slug(slug: str) -> str:
    """Return the short name. Raise InvalidInput unless it is lower-case letters, digits and inner hyphens."""
    if _SLUG.fullmatch(slug) is None:
        raise InvalidInput("A short name has up to 48 lower-case letters, digits and inner hyphens.", field="slug")
    return slug


def checked_description(name: str, definition: str, unit: str, source: str) -> Description:
    """Return what people say about a metric. Raise InvalidInput outside the bounds."""
    return Description(
        checked_line(name, "name", LONGEST_NAME, 1),
        checked_text(definition, "definition", LONGEST_DEFINITION),
        checked_line(unit, "unit", LONGEST_UNIT),
        checked_line(source, "source", LONGEST_SOURCE),
    )


def parse_value(text: str) -> Decimal:
    """Return the number that a person typed, such as `-1200.50`. Raise InvalidInput for anything else."""
    stripped = text.strip()
    if len(stripped) > _LONGEST_NUMBER or _NUMBER.fullmatch(stripped) is None:
        raise InvalidInput("Write the value in digits, such as 1200 or -3.5.", field="value")
    return checked_value(Decimal(stripped))


def checked_value(value: Decimal) -> Decimal:
    """Return a value that can be kept exactly: 18 digits before the point, 6 behind it. Raise InvalidInput."""
    try:
        with localcontext() as context:
            context.prec = WHOLE_DIGITS + FRACTION_DIGITS
            kept = value.quantize(Decimal(1).scaleb(-FRACTION_DIGITS)) if value.is_finite() else None
    except InvalidOperation:
        kept = None
    if kept is None or kept != value:
        raise InvalidInput(
            f"A value has up to {WHOLE_DIGITS} digits before the point and {FRACTION_DIGITS} behind it.", field="value"
        )
    return kept


def checked_date(on_date: date) -> date:
    """Return the day. Raise InvalidInput outside 1900 to 2199."""
    if not EARLIEST <= on_date <= LATEST:
        raise InvalidInput("The date lies between the years 1900 and 2199.", field="on_date")
    return on_date


def growth(points: Sequence[MetricPoint]) -> tuple[Growth, ...]:
    """Return the growth between each point and the next, oldest first."""
    ordered = sorted(points, key=lambda point: point.on_date)
    return tuple(
        Growth(
            earlier.on_date,
            later.on_date,
            later.value - earlier.value,
            (later.value - earlier.value) / earlier.value if earlier.value > 0 else None,
        )
        for earlier, later in pairwise(ordered)
    )


def runway(metrics: Sequence[Metric]) -> Runway | None:
    """Return how long the cash lasts, where cash and burn are measured in the same currency and money is burnt.

    They are known by their short names (`CASH_SLUGS`, `BURN_SLUGS`, the first that is measured). A burn at or
    below zero means that the cash does not shrink: None.
    """
    cash, burn = _measured(metrics, CASH_SLUGS), _measured(metrics, BURN_SLUGS)
    if cash is None or burn is None or cash.unit.upper() != burn.unit.upper():
        return None
    if cash.latest_value is None or cash.latest_on is None or burn.latest_value is None or burn.latest_on is None:
        return None
    if burn.latest_value <= 0:
        return None
    months = max(cash.latest_value, Decimal(0)) / burn.latest_value
    return Runway(months, cash.latest_value, burn.latest_value, cash.unit, cash.latest_on, burn.latest_on)


def _measured(metrics: Sequence[Metric], slugs: tuple[str, ...]) -> Metric | None:
    by_slug = {metric.slug: metric for metric in metrics if metric.is_money and metric.latest_value is not None}
    return next((by_slug[slug] for slug in slugs if slug in by_slug), None)
