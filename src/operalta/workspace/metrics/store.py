"""The SQL of metrics."""

from datetime import date
from decimal import Decimal

from operalta.db.scope import Scope
from operalta.kernel.ids import MetricId
from operalta.workspace.metrics.rules import Description, Metric, MetricPoint

MOST_METRICS = 500
MOST_POINTS = 5_000


async def insert_metric(scope: Scope, metric: MetricId, slug: str, description: Description) -> bool:
    """Add a metric; false where the short name is taken."""
    touched = await scope.execute(
        """
        INSERT INTO workspace.metrics (company_id, id, slug, name, definition, unit, source, created_by)
        VALUES (%(company)s, %(id)s, %(slug)s, %(name)s, %(definition)s, %(unit)s, %(source)s, %(person)s)
        ON CONFLICT (company_id, slug) DO NOTHING
        """,
        {
            "company": scope.company,
            "id": metric,
            "slug": slug,
            "name": description.name,
            "definition": description.definition,
            "unit": description.unit,
            "source": description.source,
            "person": scope.actor.person_id,
        },
    )
    return touched == 1


async def update_metric(scope: Scope, metric: MetricId, description: Description) -> None:
    """Write what people say about a metric."""
    await scope.execute(
        """
        UPDATE workspace.metrics SET name = %(name)s, definition = %(definition)s, unit = %(unit)s, source = %(source)s
        WHERE company_id = %(company)s AND id = %(id)s
        """,
        {
            "company": scope.company,
            "id": metric,
            "name": description.name,
            "definition": description.definition,
            "unit": description.unit,
            "source": description.source,
        },
    )


async def lock_metric(scope: Scope, slug: str) -> MetricId | None:
    """Hold a metric until the transaction ends, and return its id."""
    row = await scope.one(
        """
        SELECT metric.id FROM workspace.metrics AS metric
        WHERE metric.company_id = %(company)s AND metric.slug = %(slug)s FOR UPDATE
        """,
        {"company": scope.company, "slug": slug},
    )
    return None if row is None else row["id"]


async def metrics_of(scope: Scope, slug: str | None = None) -> list[Metric]:
    """Return the company's metrics by name, each with its latest point; with `slug`, that one."""
    rows = await scope.all(
        """
        SELECT metric.id, metric.slug, metric.name, metric.definition, metric.unit, metric.source, metric.created_by,
            metric.created_at, latest.on_date AS latest_on, latest.value AS latest_value
        FROM workspace.metrics AS metric
        LEFT JOIN LATERAL (
            SELECT point.on_date, point.value FROM workspace.metric_points AS point
            WHERE point.company_id = %(company)s AND point.metric_id = metric.id
            ORDER BY point.on_date DESC LIMIT 1
        ) AS latest ON true
        WHERE metric.company_id = %(company)s AND (%(slug)s::text IS NULL OR metric.slug = %(slug)s::text)
        ORDER BY metric.name, metric.slug LIMIT %(most)s
        """,
        {"company": scope.company, "slug": slug, "most": MOST_METRICS},
    )
    return [Metric(**row) for row in rows]


async def points_of(scope: Scope, metric: MetricId, on_date: date | None = None) -> list[MetricPoint]:
    """Return a metric's points, oldest first, the latest `MOST_POINTS` of them; with `on_date`, that day's."""
    rows = await scope.all(
        """
        SELECT point.on_date, point.value, point.note, point.recorded_by, person.name AS recorded_by_name, point.run_id,
            point.recorded_at
        FROM workspace.metric_points AS point LEFT JOIN identity.people AS person ON person.id = point.recorded_by
        WHERE point.company_id = %(company)s AND point.metric_id = %(metric)s
          AND (%(on_date)s::date IS NULL OR point.on_date = %(on_date)s::date)
        ORDER BY point.on_date DESC LIMIT %(most)s
        """,
        {"company": scope.company, "metric": metric, "on_date": on_date, "most": MOST_POINTS},
    )
    return [MetricPoint(**row) for row in reversed(rows)]


async def write_point(scope: Scope, metric: MetricId, on_date: date, value: Decimal, note: str) -> None:
    """Write the point of a day, in place of the one that was there; who records it is the scope's own."""
    await scope.execute(
        """
        INSERT INTO workspace.metric_points (company_id, metric_id, on_date, value, note, recorded_by, run_id)
        VALUES (%(company)s, %(metric)s, %(on_date)s, %(value)s, %(note)s, %(person)s, %(run)s)
        ON CONFLICT (company_id, metric_id, on_date) DO UPDATE SET value = excluded.value, note = excluded.note,
            recorded_by = excluded.recorded_by, run_id = excluded.run_id, recorded_at = now()
        """,
        {
            "company": scope.company,
            "metric": metric,
            "on_date": on_date,
            "value": value,
            "note": note,
            "person": scope.actor.person_id,
            "run": scope.actor.run_id,
        },
    )
