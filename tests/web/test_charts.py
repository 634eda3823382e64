import math
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.web.charts import (
    MOST_POINTS,
    MOST_SERIES,
    Chart,
    Drawing,
    Series,
    format_value,
    line_chart,
    sparkline,
)
from operalta.web.rendering import environment

START = date(2026, 1, 1)


def on_days(*values: float) -> list[tuple[date, float]]:
    return [(START + timedelta(days=index), value) for index, value in enumerate(values)]


def chart_of(*values: float) -> Chart:
    return line_chart("Revenue", [Series("Revenue", on_days(*values))], unit="€")


def numbers(path: str) -> list[float]:
    text = "".join(" " if letter in "MLZHVmhvlazHA" else letter for letter in path)
    return [float(number) for number in text.split()]


def assert_inside(drawing: Drawing) -> None:
    for line in drawing.lines:
        coordinates = numbers(line.path)
        assert all(math.isfinite(number) for number in coordinates)
        assert all(0 <= x <= drawing.width for x in coordinates[::2])
        assert all(0 <= y <= drawing.height for y in coordinates[1::2])
    for tick in drawing.y_ticks:
        assert drawing.top <= tick.position <= drawing.bottom


def test_no_value_draws_nothing_and_says_so() -> None:
    chart = chart_of()
    assert chart.wide is None
    assert chart.narrow is None
    assert chart.rows == ()
    assert chart.description == "There are no values yet."


def test_one_value_stands_in_the_middle() -> None:
    chart = chart_of(5)
    assert chart.wide is not None
    (x, y) = numbers(chart.wide.lines[0].path)
    assert x == pytest.approx((chart.wide.left + chart.wide.right) / 2, abs=1)
    assert chart.wide.top < y < chart.wide.bottom
    assert chart.description == "Revenue: 5 € on 2026-01-01."


def test_equal_values_are_a_level_line() -> None:
    chart = chart_of(3, 3, 3)
    assert chart.wide is not None
    assert len(set(numbers(chart.wide.lines[0].path)[1::2])) == 1


def test_the_zero_line_shows_only_where_values_lie_on_both_sides() -> None:
    both, above = chart_of(-1, 2).wide, chart_of(1, 2).wide
    assert both is not None
    assert above is not None
    assert both.zero is not None
    assert above.zero is None


def test_what_is_not_finite_is_left_out() -> None:
    chart = chart_of(math.nan, 1, math.inf, 2)
    assert len(chart.rows) == 2


def test_higher_values_stand_higher_and_later_days_further_right() -> None:
    drawing = chart_of(1, 2, 4).wide
    assert drawing is not None
    coordinates = numbers(drawing.lines[0].path)
    assert coordinates[::2] == sorted(coordinates[::2])
    assert coordinates[1::2] == sorted(coordinates[1::2], reverse=True)


def test_points_may_come_in_any_order() -> None:
    points = on_days(1, 5, 3)
    assert line_chart("R", [Series("R", points)]) == line_chart("R", [Series("R", points[::-1])])


def test_an_area_is_filled_only_down_to_a_zero_that_is_shown() -> None:
    low, high = chart_of(10, 100).wide, chart_of(100, 101).wide
    assert low is not None
    assert high is not None
    assert low.lines[0].area
    assert not high.lines[0].area


def test_series_are_told_apart_by_number_and_marker() -> None:
    chart = line_chart("Many", [Series(str(number), on_days(1, number)) for number in range(9)])
    assert chart.wide is not None
    assert [line.number for line in chart.wide.lines] == list(range(1, MOST_SERIES + 1))
    shapes = {line.markers[0].path.split("m", 1)[1] for line in chart.wide.lines}
    assert len(shapes) == MOST_SERIES


def test_the_table_has_a_column_for_each_series_and_gaps_stay_empty() -> None:
    first = Series("A", [(START, 1.0)])
    second = Series("B", [(START + timedelta(days=1), 2.5)])
    rows = line_chart("Two", [first, second]).rows
    assert [row.readings for row in rows] == [("", "2.5"), ("1", "")]


def test_a_long_series_is_thinned_but_keeps_its_ends() -> None:
    rows = chart_of(*range(MOST_POINTS * 3)).rows
    assert len(rows) == MOST_POINTS
    assert rows[-1].readings == ("0 €",)
    assert rows[0].readings == (f"{MOST_POINTS * 3 - 1:,} €",)


def test_a_sparkline_needs_two_points() -> None:
    assert sparkline(on_days(1)).path == ""
    assert sparkline(on_days(1, 2)).path.startswith("M2")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (950, "950"),
        (12_500, "12.5k"),
        (3_200_000, "3.2M"),
        (-4e9, "-4B"),
        (1e21, "1.0e+21"),
        (0.25, "0.25"),
        (1e-9, "1.0e-09"),
    ],
)
def test_values_are_short_on_axes(value: float, text: str) -> None:
    assert format_value(value) == text


def test_units_follow_the_value() -> None:
    assert format_value(12, "%") == "12%"
    assert format_value(12, "€") == "12 €"


@given(
    st.lists(
        st.tuples(
            st.dates(min_value=date(1970, 1, 1), max_value=date(2200, 1, 1)),
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        max_size=40,
    )
)
def test_any_values_stay_inside_the_drawing(points: list[tuple[date, float]]) -> None:
    chart = line_chart("Any", [Series("Any", points)], unit="%")
    for drawing in (chart.wide, chart.narrow):
        if drawing is not None:
            assert_inside(drawing)
    sparkline(points)


def test_the_macro_draws_title_description_ticks_markers_and_table_without_style() -> None:
    source = '{% from "components/chart.html" import chart %}{{ chart(given, "c") }}'
    html = environment().from_string(source).render(given=chart_of(1, 2, 3))
    assert '<title id="c-wide-title">Revenue</title>' in html
    assert 'role="img"' in html
    assert 'aria-labelledby="c-wide-title c-wide-text"' in html
    assert html.count('class="marker"') == 6
    assert "<details>" in html
    assert "<td" in html
    assert "style" not in html
