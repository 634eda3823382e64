"""The pages of metrics: all of them with their course, and one with its chart and its points."""

import re
import unicodedata
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path
from fastapi.responses import HTMLResponse, Response

from operalta.access.rules import Permission
from operalta.db.scope import Scope
from operalta.guard import rules
from operalta.kernel import clock
from operalta.kernel.errors import Conflict, InvalidInput, NotAllowed, Refusal
from operalta.web.charts import Series, line_chart, sparkline
from operalta.web.entry import CompanyEntry, InCompany
from operalta.web.presentation import go_to, page, typed_lines
from operalta.web.transfers import attachment
from operalta.workspace.metrics import service
from operalta.workspace.metrics.rules import (
    Growth,
    Metric,
    MetricPoint,
    MetricWithPoints,
    Runway,
    growth,
    parse_value,
    runway,
)

router = APIRouter()

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.METRICS_READ, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.METRICS_WRITE, rules.WRITE))]
Text = Annotated[str, Form(max_length=10_000)]
Slug = Annotated[str, Path(min_length=1, max_length=48, pattern="^[a-z0-9-]+$")]

_STALE_AFTER = timedelta(days=45)
"""Most metrics are monthly; half a month more is late."""
_MOST_COURSES = 60
"""So many metrics are shown with their course; each needs its points."""
_SPARKLINE_POINTS = 24
_LONGEST_SLUG = 48


@router.get("/c/{company}/metrics")
async def metrics(entry: Reading) -> HTMLResponse:
    """Show every metric."""
    return await _metrics_page(entry, {}, None)


@router.post("/c/{company}/metrics")
async def define(
    entry: Writing, name: Text = "", unit: Text = "", definition: Text = "", source: Text = ""
) -> Response:
    """Keep a new metric; its short name comes of its name."""
    try:
        async with entry.scope() as scope:
            made = await service.define(
                scope,
                _slug_of(name),
                name,
                definition=typed_lines(definition),
                unit=unit,
                source=source,
            )
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        form = {"name": name, "unit": unit, "definition": definition, "source": source}
        return await _metrics_page(entry, form, refusal)
    return go_to(f"/c/{entry.company}/metrics/{made.slug}", "saved")


@router.get("/c/{company}/metrics/{slug}.csv")
async def points_as_csv(entry: Reading, slug: Slug) -> Response:
    """Hand a metric's points over as a table."""
    async with entry.scope() as scope:
        content = await service.export_csv(scope, slug)
    return attachment(f"{slug}.csv", content, "text/csv; charset=utf-8")


@router.get("/c/{company}/metrics/{slug}")
async def metric(entry: Reading, slug: Slug) -> HTMLResponse:
    """Show one metric."""
    return await _metric_page(entry, slug, {}, None)


@router.post("/c/{company}/metrics/{slug}/points")
async def add_point(entry: Writing, slug: Slug, day: Text = "", value: Text = "", note: Text = "") -> Response:
    """Enter a day's value."""
    try:
        async with entry.scope() as scope:
            await service.record_point(scope, slug, _day(day), parse_value(value), typed_lines(note))
    except (InvalidInput, Conflict, NotAllowed) as refusal:
        # The service calls the day by another name than the form does.
        if isinstance(refusal, InvalidInput) and refusal.field == "on_date":
            refusal.field = "day"
        return await _metric_page(entry, slug, {"day": day, "value": value, "note": note}, refusal)
    return go_to(f"/c/{entry.company}/metrics/{slug}", "saved")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput("Write the day as 2026-01-31.", field="day") from None


def _slug_of(name: str) -> str:
    """Return the short name for a metric of this name: lower-case ASCII letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", name.lower().replace("ß", "ss"))
    letters = "".join(character for character in plain if not unicodedata.combining(character))
    slug = re.sub(r"[^a-z0-9]+", "-", letters).strip("-")[:_LONGEST_SLUG].strip("-")
    if not slug and name.strip():
        raise InvalidInput("Write a name with at least one letter from A to Z, or a digit.", field="name")
    return slug or "metric"


async def _metrics_page(entry: CompanyEntry, form: dict[str, str], refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        kept = await service.list_metrics(scope)
        shown = [await service.get(scope, each.slug) for each in kept[:_MOST_COURSES]]
        shown += [MetricWithPoints(each, ()) for each in kept[_MOST_COURSES:]]
        context: dict[str, object] = {
            "metrics": [_listed(each) for each in shown],
            "highlights": _highlights(runway(kept)),
            "form": form,
        }
        return await _shown(entry, scope, "pages/metrics.html", context, refusal)


async def _metric_page(entry: CompanyEntry, slug: str, form: dict[str, str], refusal: Refusal | None) -> HTMLResponse:
    async with entry.scope() as scope:
        found = await service.get(scope, slug)
        kept, points = found.metric, found.points
        context: dict[str, object] = {
            "metric": {
                "slug": kept.slug,
                "name": kept.name,
                "unit": kept.unit,
                "definition": kept.definition,
                "source": kept.source,
                "owner": None,
                "latest": _latest(kept),
                "updated_at": _updated_at(found),
            },
            "chart": line_chart(kept.name, [Series(kept.name, _course(points))], unit=kept.unit),
            "figures": _figures(found, runway(await service.list_metrics(scope))),
            "points": [
                {
                    "day": each.on_date,
                    "value": _number(each.value),
                    "note": each.note or None,
                    "entered_by": _author(each),
                    "entered_at": each.recorded_at,
                }
                for each in reversed(points)
            ],
            "form": form,
        }
        return await _shown(entry, scope, "pages/metric.html", context, refusal)


def _listed(found: MetricWithPoints) -> dict[str, object]:
    kept = found.metric
    steps = growth(found.points[-2:])
    return {
        "slug": kept.slug,
        "name": kept.name,
        "unit": kept.unit,
        "latest": _latest(kept),
        "change": _change(steps[-1]) if steps else None,
        "source": kept.source or "no source named",
        "updated_at": _updated_at(found),
        "sparkline": sparkline(_course(found.points[-_SPARKLINE_POINTS:])),
        "is_stale": kept.latest_on is not None and clock.now().date() - kept.latest_on > _STALE_AFTER,
    }


def _figures(found: MetricWithPoints, lasting: Runway | None) -> list[tuple[str, str]]:
    kept = found.metric
    figures: list[tuple[str, str]] = []
    if kept.latest_value is not None:
        figures.append(("Latest", f"{_latest(kept)} {kept.unit}".strip()))
    steps = growth(found.points[-2:])
    if steps:
        figures.append(("Since the point before", _change(steps[-1])))
    if len(found.points) > 2:  # noqa: PLR2004 - of two points the whole is the last step
        figures.append(("Since the first point", _change(growth((found.points[0], found.points[-1]))[0])))
    if lasting is not None and kept.is_money:
        figures += _highlights(lasting)
    return figures


def _highlights(lasting: Runway | None) -> list[tuple[str, str]]:
    if lasting is None:
        return []
    return [("Runway", f"{lasting.months:.1f} months"), ("Burn in a month", f"{_number(lasting.burn)} {lasting.unit}")]


def _change(step: Growth) -> str:
    told = f"{step.ratio * 100:+,.1f} %" if step.ratio is not None else f"{_signed(step.difference)}"
    return f"{told} since {step.since:%-d %b %Y}"


def _signed(value: Decimal) -> str:
    return f"+{_number(value)}" if value > 0 else _number(value)


def _number(value: Decimal) -> str:
    """Return a value for people: thousands apart, no trailing zeros."""
    text = f"{value:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _latest(kept: Metric) -> str | None:
    return None if kept.latest_value is None else _number(kept.latest_value)


def _updated_at(found: MetricWithPoints) -> datetime | None:
    if found.metric.latest_on is None:
        return None
    return datetime.combine(found.metric.latest_on, time(), UTC)


def _author(point: MetricPoint) -> str:
    who = point.recorded_by_name or "somebody who is no longer here"
    return f"an agent for {who}" if point.run_id else who


def _course(points: tuple[MetricPoint, ...]) -> list[tuple[date, float]]:
    return [(each.on_date, float(each.value)) for each in points]


async def _shown(
    entry: CompanyEntry, scope: Scope, template: str, context: dict[str, object], refusal: Refusal | None
) -> HTMLResponse:
    return await page(
        entry.request,
        scope,
        template,
        context,
        nav="metrics",
        refusal=refusal,
    )
