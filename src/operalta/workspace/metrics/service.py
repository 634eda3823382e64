"""Defining metrics, recording their points, and reading both. The tools of agents are these same functions."""

from datetime import date
from decimal import Decimal

from operalta.access.rules import Permission
from operalta.audit.rules import Action
from operalta.audit.service import record as record_event
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.ids import MetricId, new_id
from operalta.kernel.texts import checked_text
from operalta.terms.registry import upholds
from operalta.workspace.csv_export import write_csv
from operalta.workspace.errors import MetricExists, NoSuchMetric
from operalta.workspace.metrics import store
from operalta.workspace.metrics.rules import (
    LONGEST_NOTE,
    Metric,
    MetricPoint,
    MetricWithPoints,
    checked_date,
    checked_description,
    checked_slug,
    checked_value,
)

_CSV_HEADER = ("date", "value", "unit", "note", "recorded by", "recorded at", "run")


@upholds("2.5.3", "5.1.3")
async def define(
    scope: Scope, slug: str, name: str, *, definition: str = "", unit: str = "", source: str = ""
) -> Metric:
    """Add a metric and return it. Raise InvalidInput, or MetricExists where the short name is taken."""
    require(scope, Permission.METRICS_WRITE)
    slug = checked_slug(slug)
    description = checked_description(name, definition, unit, source)
    metric = MetricId(new_id())
    if not await store.insert_metric(scope, metric, slug, description):
        raise MetricExists
    await record_event(scope, Action.METRIC_DEFINED, "metric", metric, slug=slug)
    return await _found(scope, slug)


@upholds("2.5.3", "5.1.3")
async def edit(
    scope: Scope,
    slug: str,
    *,
    name: str | None = None,
    definition: str | None = None,
    unit: str | None = None,
    source: str | None = None,
) -> Metric:
    """Change what is said about a metric; what is None stays. Raise NoSuchMetric, InvalidInput."""
    require(scope, Permission.METRICS_WRITE)
    await _held(scope, slug)
    before = await _found(scope, slug)
    description = checked_description(
        before.name if name is None else name,
        before.definition if definition is None else definition,
        before.unit if unit is None else unit,
        before.source if source is None else source,
    )
    changed = [
        field
        for field in ("name", "definition", "unit", "source")
        if getattr(before, field) != getattr(description, field)
    ]
    if not changed:
        return before
    await store.update_metric(scope, before.id, description)
    await record_event(scope, Action.METRIC_CHANGED, "metric", before.id, slug=slug, fields=changed)
    return await _found(scope, slug)


async def list_metrics(scope: Scope) -> tuple[Metric, ...]:
    """Return the company's metrics by name, at most 500, each with its latest value."""
    require(scope, Permission.METRICS_READ)
    return tuple(await store.metrics_of(scope))


async def get(scope: Scope, slug: str) -> MetricWithPoints:
    """Return a metric with its points, oldest first (the latest 5,000). Raise NoSuchMetric."""
    require(scope, Permission.METRICS_READ)
    metric = await _found(scope, slug)
    return MetricWithPoints(metric, tuple(await store.points_of(scope, metric.id)))


@upholds("2.5.3", "5.1.3")
async def record_point(scope: Scope, slug: str, on_date: date, value: Decimal, note: str = "") -> MetricPoint:
    """Record a day's value and return it. A day has one value: another one takes its place, and the event tells both.

    Recording again what stands there changes nothing. Raise NoSuchMetric, InvalidInput.
    """
    require(scope, Permission.METRICS_WRITE)
    on_date = checked_date(on_date)
    value = checked_value(value)
    note = checked_text(note, "note", LONGEST_NOTE)
    metric = await _held(scope, slug)
    before = next(iter(await store.points_of(scope, metric, on_date)), None)
    if before is not None and before.value == value and before.note == note:
        return before
    await store.write_point(scope, metric, on_date, value, note)
    await record_event(
        scope,
        Action.METRIC_POINT_RECORDED,
        "metric",
        metric,
        slug=slug,
        on_date=on_date.isoformat(),
        before=None if before is None else before.value,
        after=value,
    )
    return (await store.points_of(scope, metric, on_date))[0]


async def export_csv(scope: Scope, slug: str) -> bytes:
    """Return a metric's points as CSV, formulas defused. Raise NoSuchMetric."""
    found = await get(scope, slug)
    return write_csv(
        _CSV_HEADER,
        (
            (
                point.on_date,
                point.value,
                found.metric.unit,
                point.note,
                point.recorded_by_name,
                point.recorded_at.isoformat(),
                point.run_id,
            )
            for point in found.points
        ),
    )


async def _held(scope: Scope, slug: str) -> MetricId:
    held = await store.lock_metric(scope, checked_slug(slug))
    if held is None:
        raise NoSuchMetric
    return held


async def _found(scope: Scope, slug: str) -> Metric:
    found = await store.metrics_of(scope, checked_slug(slug))
    if not found:
        raise NoSuchMetric
    return found[0]
