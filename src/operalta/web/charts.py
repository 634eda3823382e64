"""Charts as pure functions: series of (date, value) to coordinates, which a macro renders as SVG.

Nothing here knows markup, and nothing needs inline style: colours, dashes and markers come from classes
(`series-1` … `series-6`), so that a series is told apart without colour too. Each chart carries two drawings,
one for wide and one for narrow screens, because a scaled-down drawing would have unreadable text.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

MOST_SERIES: Final = 6
MOST_POINTS: Final = 2000
"""Beyond this many points a series is thinned evenly; the first and the last always stay."""

_MOST_MARKERS: Final = 60
_MARKERS: Final = (
    "M{x} {y}m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    "M{x} {y}m-3.2 -3.2h6.4v6.4h-6.4z",
    "M{x} {y}m0 -4l3.9 7h-7.8z",
    "M{x} {y}m0 -4.4l4.4 4.4l-4.4 4.4l-4.4 -4.4z",
    "M{x} {y}m0 4l3.9 -7h-7.8z",
    "M{x} {y}m-3.2 -3.2l6.4 6.4m0 -6.4l-6.4 6.4",
)
_SUFFIXES: Final = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k"))
_PLAIN_BELOW: Final = 10_000
_SUFFIXED_BELOW: Final = 1e15
_SMALLEST_PLAIN: Final = 0.001
_LARGEST: Final = 1.7e308
_ZERO_TAKEN_IN_BELOW: Final = 0.7
_DAYS_IN_TWO_MONTHS: Final = 62
_DAYS_IN_TWO_YEARS: Final = 731


@dataclass(frozen=True, slots=True)
class Series:
    """A named line: its points as (date, value), in any order; values that are not finite are left out."""

    name: str
    points: Sequence[tuple[date, float]]


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, in the drawing's units, and what is written there."""

    position: float
    label: str


@dataclass(frozen=True, slots=True)
class Marker:
    """A point of a line: the path that draws its marker, and its reading for the tooltip."""

    path: str
    reading: str


@dataclass(frozen=True, slots=True)
class Line:
    """One series as drawn. `number` is 1 to 6 and chooses the class.

    `area` reaches to zero; it is empty unless the line stands alone and the axis shows zero.
    """

    number: int
    name: str
    path: str
    area: str
    markers: tuple[Marker, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """All coordinates of a chart for one size, in units of the SVG's viewBox."""

    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    zero: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the data table: the day, and the value of each series there ("" where it has none)."""

    day: date
    readings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its words, its two drawings (None when there is no point) and its data, newest first."""

    title: str
    description: str
    unit: str
    names: tuple[str, ...]
    wide: Drawing | None
    narrow: Drawing | None
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class Sparkline:
    """A line without axes, `width` by `height` units; `path` is empty below two points."""

    width: int
    height: int
    path: str


def line_chart(title: str, series: Sequence[Series], *, unit: str = "") -> Chart:
    """Return the chart of up to six series; `unit` is written after readings ("€", "people", "%").

    Any values will do: none, one, all equal, negative, as large as a float holds.
    """
    lines = tuple(Series(line.name, _cleaned(line.points)) for line in series[:MOST_SERIES])
    return Chart(
        title=title,
        description=_described(lines, unit),
        unit=unit,
        names=tuple(line.name for line in lines),
        wide=_drawn(lines, unit, width=720, height=260, x_count=6, y_count=5),
        narrow=_drawn(lines, unit, width=340, height=220, x_count=3, y_count=4),
        rows=_tabled(lines, unit),
    )


def sparkline(points: Sequence[tuple[date, float]], *, width: int = 96, height: int = 28) -> Sparkline:
    """Return a small line that shows the course of `points` beside a figure."""
    cleaned = _cleaned(points)
    if len(cleaned) < 2:  # noqa: PLR2004 - a line needs two points
        return Sparkline(width, height, "")
    place = _Places(cleaned, left=2, right=width - 2, top=3, bottom=height - 3, bounds=_bounds_of(cleaned))
    return Sparkline(width, height, _path([place.of(day, value) for day, value in cleaned]))


def format_value(value: float, unit: str = "", *, beside: float = 0.0) -> str:
    """Return `value` short enough for an axis: 950, 12.5k, 3.2M, 1.0e+21; with the unit after it.

    `beside` is the largest value of the same axis, so that 8k stands beside 12k and not 8,000.
    """
    return f"{_short(value, max(abs(value), abs(beside)))}{_joined(unit)}"


def _short(value: float, largest: float) -> str:
    size = abs(value)
    if size == 0:
        return "0"
    if size < _SMALLEST_PLAIN or size >= _SUFFIXED_BELOW:
        return f"{value:.1e}"
    if largest < _PLAIN_BELOW or size < _SUFFIXES[-1][0]:
        return f"{value:,.3f}".rstrip("0").rstrip(".") if size < 1 else f"{value:,.2f}".rstrip("0").rstrip(".")
    for divisor, suffix in _SUFFIXES:
        if size >= divisor:
            return _trimmed(f"{value / divisor:.2f}") + suffix
    return f"{value:.0f}"


def _trimmed(decimal: str) -> str:
    return decimal.rstrip("0").rstrip(".")


def _joined(unit: str) -> str:
    if not unit:
        return ""
    return unit if unit == "%" else f" {unit}"


def _cleaned(points: Sequence[tuple[date, float]]) -> list[tuple[date, float]]:
    finite = sorted((day, float(value)) for day, value in points if math.isfinite(value))
    if len(finite) <= MOST_POINTS:
        return finite
    step = (len(finite) - 1) / (MOST_POINTS - 1)
    return [finite[round(index * step)] for index in range(MOST_POINTS)]


def _bounds_of(points: Sequence[tuple[date, float]]) -> tuple[float, float]:
    low, high = min(value for _, value in points), max(value for _, value in points)
    if low != high:
        return low, high
    margin = abs(low) / 2 or 1.0
    return max(low - margin, -_LARGEST), min(high + margin, _LARGEST)


def _axis_bounds(points: Sequence[tuple[date, float]]) -> tuple[float, float]:
    """Return the bounds of the value axis; zero is taken in where that does not flatten the line."""
    low, high = _bounds_of(points)
    if 0 < low < high * _ZERO_TAKEN_IN_BELOW:
        return 0.0, high
    if low * _ZERO_TAKEN_IN_BELOW < high < 0:
        return low, 0.0
    return low, high


def _drawn(
    lines: Sequence[Series], unit: str, *, width: int, height: int, x_count: int, y_count: int
) -> Drawing | None:
    points = [point for line in lines for point in line.points]
    if not points:
        return None
    levels = _levels(*_axis_bounds(points), y_count)
    largest = max(abs(level) for level in levels)
    labels = [format_value(level, "%" if unit == "%" else "", beside=largest) for level in levels]
    left = 14.0 + 7.0 * max(len(label) for label in labels)
    place = _Places(
        points, left=left, right=width - 18.0, top=14.0, bottom=height - 30.0, bounds=(levels[0], levels[-1])
    )
    filled = len(lines) == 1 and levels[0] <= 0 <= levels[-1]
    return Drawing(
        width=width,
        height=height,
        left=left,
        right=place.right,
        top=place.top,
        bottom=place.bottom,
        zero=place.y(0.0) if levels[0] < 0 < levels[-1] else None,
        x_ticks=_x_ticks(place, x_count),
        y_ticks=tuple(Tick(place.y(level), label) for level, label in zip(levels, labels, strict=True)),
        lines=tuple(_line(number, line, place, unit, filled=filled) for number, line in enumerate(lines, 1)),
    )


class _Places:
    """Where a day and a value stand in a drawing. Fractions are taken before differences can overflow."""

    def __init__(
        self,
        points: Sequence[tuple[date, float]],
        *,
        left: float,
        right: float,
        top: float,
        bottom: float,
        bounds: tuple[float, float],
    ) -> None:
        self.left, self.right, self.top, self.bottom = left, right, top, bottom
        self.first, self.last = min(day for day, _ in points), max(day for day, _ in points)
        self._days = (self.last - self.first).days
        self._scale = max(abs(bounds[0]), abs(bounds[1])) or 1.0
        self._low = bounds[0] / self._scale
        self._span = (bounds[1] / self._scale - self._low) or 1.0

    def x(self, day: date) -> float:
        if self._days == 0:
            return round((self.left + self.right) / 2, 1)
        return round(self.left + (day - self.first).days / self._days * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        share = (value / self._scale - self._low) / self._span
        return round(self.bottom - share * (self.bottom - self.top), 1)

    def of(self, day: date, value: float) -> tuple[float, float]:
        return self.x(day), self.y(value)


def _levels(low: float, high: float, count: int) -> list[float]:
    """Return evenly spaced round values that enclose `low` to `high`."""
    raw = high / count - low / count
    if not math.isfinite(raw) or raw <= 0:
        return [low, high]
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next((factor * magnitude for factor in (1, 2, 2.5, 5) if factor * magnitude >= raw), 10 * magnitude)
    if step == 0 or not math.isfinite(step):
        return [low, high]
    first, last = math.floor(low / step), math.ceil(high / step)
    levels = [index * step for index in range(first, last + 1)]
    distinct = len(set(levels)) == len(levels) and all(math.isfinite(level) for level in levels)
    return levels if distinct and len(levels) > 1 else [low, high]


def _x_ticks(place: _Places, count: int) -> tuple[Tick, ...]:
    days = (place.last - place.first).days
    steps = min(count - 1, days)
    shown = [place.first + timedelta(days=round(days * index / steps)) for index in range(steps + 1)] if steps else []
    return tuple(Tick(place.x(day), _day_label(day, days)) for day in shown or [place.first])


def _day_label(day: date, span: int) -> str:
    if span <= _DAYS_IN_TWO_MONTHS:
        return f"{day.day} {day:%b}"
    return f"{day:%b} {day.year}" if span <= _DAYS_IN_TWO_YEARS else str(day.year)


def _line(number: int, line: Series, place: _Places, unit: str, *, filled: bool) -> Line:
    corners = [place.of(day, value) for day, value in line.points]
    path = _path(corners)
    floor = min(max(place.y(0.0), place.top), place.bottom)
    area = f"{path}L{corners[-1][0]} {floor}L{corners[0][0]} {floor}Z" if filled and len(corners) > 1 else ""
    template = _MARKERS[number - 1]
    marked = zip(corners, line.points, strict=True) if len(corners) <= _MOST_MARKERS else ()
    markers = tuple(
        Marker(
            template.format(x=x, y=y),
            f"{line.name}, {day.isoformat()}: {format_value(value, unit)}",
        )
        for (x, y), (day, value) in marked
    )
    return Line(number=number, name=line.name, path=path, area=area, markers=markers)


def _path(corners: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if index else 'M'}{x} {y}" for index, (x, y) in enumerate(corners))


def _described(lines: Sequence[Series], unit: str) -> str:
    """Return in words what the lines show: from where to where, lowest and highest."""
    sentences = [_sentence(line, unit) for line in lines if line.points]
    return " ".join(sentences) or "There are no values yet."


def _sentence(line: Series, unit: str) -> str:
    (first_day, first), (last_day, last) = line.points[0], line.points[-1]
    if len(line.points) == 1:
        return f"{line.name}: {format_value(first, unit)} on {first_day.isoformat()}."
    low, high = min(value for _, value in line.points), max(value for _, value in line.points)
    course = "rises" if last > first else "falls" if last < first else "ends where it began,"
    return (
        f"{line.name} {course} from {format_value(first, unit)} on {first_day.isoformat()} "
        f"to {format_value(last, unit)} on {last_day.isoformat()}; "
        f"lowest {format_value(low, unit)}, highest {format_value(high, unit)}."
    )


def _tabled(lines: Sequence[Series], unit: str) -> tuple[Row, ...]:
    columns = [dict(line.points) for line in lines]
    days = sorted({day for column in columns for day in column}, reverse=True)
    return tuple(
        Row(day, tuple(_exact(column[day], unit) if day in column else "" for column in columns)) for day in days
    )


def _exact(value: float, unit: str) -> str:
    text = _trimmed(f"{value:,.6f}") if abs(value) < _SUFFIXED_BELOW else f"{value:.6g}"
    return f"{text}{_joined(unit)}"
