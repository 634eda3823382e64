"""Metrics on the real database: one value a day, who recorded it, roles, other companies, CSV."""

from datetime import date
from decimal import Decimal

import psycopg
import pytest

from operalta.kernel.errors import InvalidInput, NotAllowed
from operalta.workspace.errors import MetricExists, NoSuchMetric
from operalta.workspace.metrics import service as metrics
from operalta.workspace.metrics.rules import runway
from tests.workspace.conftest import Look, Office, Opening, RunOpening

MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)


async def test_a_metric_is_defined_edited_and_listed_with_its_latest_point(
    office: Office, scope_of: Opening, look: Look
) -> None:
    async with scope_of(office.founder) as scope:
        await metrics.define(scope, "cash", "Cash", unit="CHF", source="Bank")
        await metrics.define(scope, "burn", "Burn a month", unit="CHF")
        edited = await metrics.edit(scope, "cash", definition="All accounts")
        await metrics.edit(scope, "cash", definition="All accounts")
        await metrics.record_point(scope, "cash", APRIL, Decimal(90_000))
        await metrics.record_point(scope, "cash", MARCH, Decimal(100_000))
        await metrics.record_point(scope, "burn", MARCH, Decimal("7500.5"))
        listed = await metrics.list_metrics(scope)
        with pytest.raises(MetricExists):
            await metrics.define(scope, "cash", "Again")
    assert (edited.name, edited.definition, edited.source) == ("Cash", "All accounts", "Bank")
    assert [(one.slug, one.latest_on, one.latest_value) for one in listed] == [
        ("burn", MARCH, Decimal("7500.5")),
        ("cash", APRIL, Decimal(90_000)),
    ]
    found = runway(listed)
    assert found is not None
    assert found.months == Decimal(90_000) / Decimal("7500.5")
    assert look.actions(office.founder.company_id) == [
        "metric.defined",
        "metric.defined",
        "metric.changed",
        *["metric.point_recorded"] * 3,
    ]


async def test_a_day_has_one_value_and_the_event_tells_what_it_replaced(
    office: Office, scope_of: Opening, run_for: RunOpening, look: Look
) -> None:
    async with scope_of(office.founder) as scope:
        await metrics.define(scope, "users", "Users")
        await metrics.record_point(scope, "users", MARCH, Decimal(10))
        await metrics.record_point(scope, "users", MARCH, Decimal("10.0"))
    async with run_for(office.founder) as (scope, _):
        replaced = await metrics.record_point(scope, "users", MARCH, Decimal("12.5"), "Corrected")
        run = scope.actor.run_id
    assert (replaced.value, replaced.note, replaced.run_id) == (Decimal("12.5"), "Corrected", run)
    async with scope_of(office.observer) as scope:
        assert [point.value for point in (await metrics.get(scope, "users")).points] == [Decimal("12.5")]
    events = look.rows(
        "SELECT detail ->> 'before' AS before, detail ->> 'after' AS after, actor_run_id FROM audit.events"
        " WHERE company_id = %s AND action = 'metric.point_recorded' ORDER BY occurred_at",
        office.founder.company_id,
    )
    assert [(row["before"], row["after"], row["actor_run_id"]) for row in events] == [
        (None, "10.000000", None),
        ("10.000000", "12.500000", run),
    ]


@pytest.mark.proves("2.4.2")
async def test_another_company_sees_no_metric_and_may_use_the_same_short_name(
    office: Office, scope_of: Opening
) -> None:
    async with scope_of(office.founder) as scope:
        await metrics.define(scope, "users", "Ours")
        await metrics.record_point(scope, "users", MARCH, Decimal(10))
    async with scope_of(office.stranger) as scope:
        assert await metrics.list_metrics(scope) == ()
        for attempt in (
            metrics.get(scope, "users"),
            metrics.edit(scope, "users", name="Mine"),
            metrics.record_point(scope, "users", MARCH, Decimal(1)),
            metrics.export_csv(scope, "users"),
        ):
            with pytest.raises(NoSuchMetric):
                await attempt
        assert await scope.all("SELECT value FROM workspace.metric_points") == []
        assert await scope.execute("UPDATE workspace.metric_points SET value = 0") == 0
        assert await scope.execute("UPDATE workspace.metrics SET name = 'x'") == 0
        assert (await metrics.define(scope, "users", "Theirs")).name == "Theirs"


@pytest.mark.proves("2.4.2", "2.5.3")
async def test_who_may_only_read_cannot_write_by_the_service_nor_by_sql(office: Office, scope_of: Opening) -> None:
    async with scope_of(office.founder) as scope:
        metric = await metrics.define(scope, "users", "Users")
        await metrics.record_point(scope, "users", MARCH, Decimal(10))
    for member in (office.advisor, office.investor, office.observer):
        async with scope_of(member) as scope:
            for attempt in (
                metrics.define(scope, "more", "More"),
                metrics.edit(scope, "users", name="x"),
                metrics.record_point(scope, "users", APRIL, Decimal(11)),
            ):
                with pytest.raises(NotAllowed):
                    await attempt
            assert len((await metrics.get(scope, "users")).points) == 1
            assert await scope.execute("UPDATE workspace.metric_points SET value = 0") == 0
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await scope.execute(
                    "INSERT INTO workspace.metric_points (company_id, metric_id, on_date, value, recorded_by)"
                    " VALUES (%(company)s, %(metric)s, '2026-05-01', 1, %(person)s)",
                    {"company": scope.company, "metric": metric.id, "person": scope.actor.person_id},
                )


async def test_the_csv_of_a_metric_runs_nothing(office: Office, scope_of: Opening) -> None:
    async with scope_of(office.founder) as scope:
        await metrics.define(scope, "users", "Users", unit="=1+1")
        await metrics.record_point(scope, "users", MARCH, Decimal("-3.5"), "\t=cmd|' /C calc'!A0")
        lines = (await metrics.export_csv(scope, "users")).decode().split("\r\n")
    assert lines[0] == '"date","value","unit","note","recorded by","recorded at","run"'
    assert lines[1].startswith('"2026-03-01",-3.5,"\'=1+1","\'\t=cmd|\' /C calc\'!A0",')


async def test_what_cannot_be_kept_is_refused(office: Office, scope_of: Opening) -> None:
    async with scope_of(office.founder) as scope:
        await metrics.define(scope, "users", "Users")
        for attempt in (
            metrics.define(scope, "Users", "x"),
            metrics.define(scope, "x", ""),
            metrics.define(scope, "x", "x", unit="u" * 21),
            metrics.record_point(scope, "users", date(1, 1, 1), Decimal(1)),
            metrics.record_point(scope, "users", MARCH, Decimal("NaN")),
            metrics.record_point(scope, "users", MARCH, Decimal("1e20")),
            metrics.record_point(scope, "users", MARCH, Decimal(1), "x" * 401),
            metrics.get(scope, "no\x00slug"),
        ):
            with pytest.raises(InvalidInput):
                await attempt
