"""Metrics and their points. Values travel as text, so that no digit is lost on the way."""

from datetime import date, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path
from pydantic import Field

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.web.api.models import REFUSALS, USUAL_PAGE_SIZE, Body, Cursor, Listing, PageSize, Shown, whole
from operalta.web.entry import CompanyEntry, InCompany
from operalta.workspace.metrics import service
from operalta.workspace.metrics.rules import (
    LONGEST_DEFINITION,
    LONGEST_NAME,
    LONGEST_NOTE,
    LONGEST_SOURCE,
    LONGEST_UNIT,
    parse_value,
)

router = APIRouter(prefix="/companies/{company}/metrics", tags=["metrics"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.METRICS_READ, rules.READ))]
Writing = Annotated[CompanyEntry, Depends(InCompany(Permission.METRICS_WRITE, rules.WRITE))]
Slug = Annotated[str, Path(min_length=1, max_length=48, pattern="^[a-z0-9-]+$")]

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Definition = Annotated[str, Field(max_length=LONGEST_DEFINITION)]
Unit = Annotated[str, Field(max_length=LONGEST_UNIT)]
Source = Annotated[str, Field(max_length=LONGEST_SOURCE)]
Value = Annotated[
    str, Field(min_length=1, max_length=40, description="A decimal: up to 18 digits before the point, 6 behind it")
]


class DefineBody(Body):
    """A new metric."""

    slug: Annotated[str, Field(min_length=1, max_length=48, description="Lower-case letters, digits, inner hyphens")]
    name: Name
    definition: Definition = ""
    unit: Unit = ""
    source: Source = ""


class EditBody(Body):
    """What is to be said of a metric from now on; what is left out stays."""

    name: Name | None = None
    definition: Definition | None = None
    unit: Unit | None = None
    source: Source | None = None


class PointBody(Body):
    """A day's value. A day has one: another one takes its place."""

    on_date: date
    value: Value
    note: Annotated[str, Field(max_length=LONGEST_NOTE)] = ""


class Metric(Shown):
    """A metric with its latest value, null before there is one."""

    id: UUID
    slug: str
    name: str
    definition: str
    unit: str
    source: str
    created_by: UUID
    created_at: datetime
    latest_on: date | None
    latest_value: Decimal | None


class Point(Shown):
    """A day's value; `run_id` names the agent's run that entered it for `recorded_by`."""

    on_date: date
    value: Decimal
    note: str
    recorded_by: UUID
    recorded_by_name: str | None
    run_id: UUID | None
    recorded_at: datetime


@router.get("")
async def list_metrics(entry: Reading, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE) -> Listing[Metric]:
    """List metrics by name."""
    async with entry.scope() as scope:
        shown, following = whole(await service.list_metrics(scope), limit, cursor)
    return Listing[Metric](items=tuple(Metric.model_validate(each) for each in shown), next_cursor=following)


@router.post("", status_code=HTTPStatus.CREATED)
async def define(entry: Writing, body: DefineBody) -> Metric:
    """Keep a new metric. 409 where the short name is taken."""
    async with entry.scope() as scope:
        made = await service.define(
            scope, body.slug, body.name, definition=body.definition, unit=body.unit, source=body.source
        )
        return Metric.model_validate(made)


@router.get("/{slug}")
async def get_metric(entry: Reading, slug: Slug) -> Metric:
    """Return one metric."""
    async with entry.scope() as scope:
        return Metric.model_validate((await service.get(scope, slug)).metric)


@router.patch("/{slug}")
async def edit(entry: Writing, slug: Slug, body: EditBody) -> Metric:
    """Change what is said about a metric."""
    async with entry.scope() as scope:
        changed = await service.edit(
            scope, slug, name=body.name, definition=body.definition, unit=body.unit, source=body.source
        )
        return Metric.model_validate(changed)


@router.get("/{slug}/points")
async def list_points(
    entry: Reading, slug: Slug, cursor: Cursor = None, limit: PageSize = USUAL_PAGE_SIZE
) -> Listing[Point]:
    """List a metric's points, oldest first, of the latest 5,000."""
    async with entry.scope() as scope:
        shown, following = whole((await service.get(scope, slug)).points, limit, cursor)
    return Listing[Point](items=tuple(Point.model_validate(each) for each in shown), next_cursor=following)


@router.post("/{slug}/points")
async def record_point(entry: Writing, slug: Slug, body: PointBody) -> Point:
    """Enter a day's value, in place of the one that stands there."""
    async with entry.scope() as scope:
        return Point.model_validate(
            await service.record_point(scope, slug, body.on_date, parse_value(body.value), body.note)
        )
