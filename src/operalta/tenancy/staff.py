"""Visits of the operator's staff to a company: for a reason, for some hours, told to the company (clause 7.2.3).

Staff are no members. They see what their staff role's template names, change nothing, and everything that they open is
in the company's own log. Either side ends a visit at once.
"""

from datetime import datetime
from uuid import UUID

from operalta.access.rules import CompanyKind, Permission, StaffRole
from operalta.audit.rules import Action
from operalta.audit.service import record
from operalta.db.permission import require
from operalta.db.scope import Row, Scope
from operalta.identity.errors import NotProved
from operalta.identity.step_up import SensitiveOperation, require_recent_proof
from operalta.kernel.actor import ActorKind
from operalta.kernel.errors import InvalidInput, NotFound
from operalta.tenancy import store
from operalta.tenancy.errors import CannotVisit, NoSuchVisit
from operalta.tenancy.rules import CompanyToVisit, OpenedVisit, StaffVisit, visit_reason
from operalta.terms.registry import upholds

SHORTEST_VISIT_MINUTES = 5
LONGEST_VISIT_MINUTES = 8 * 60
LARGEST_PAGE = 100


async def own_staff_roles(scope: Scope) -> tuple[StaffRole, ...]:
    """Return the roles that the scope's person may visit companies in. Raise NotFound for whoever is no staff."""
    roles = tuple(StaffRole(role) for role in await store.own_staff_roles(scope))
    if not roles:
        raise NotFound
    return roles


async def is_staff(scope: Scope) -> bool:
    """Tell whether the scope's person may visit companies as staff."""
    return bool(await store.own_staff_roles(scope))


async def companies_to_visit(
    scope: Scope, *, after: str | None = None, limit: int = LARGEST_PAGE
) -> tuple[CompanyToVisit, ...]:
    """Return up to `limit` (at most 100) companies by slug, from the one after `after` on, for staff to choose from."""
    await own_staff_roles(scope)
    rows = await store.companies_for_staff(scope, after=after, limit=max(1, min(limit, LARGEST_PAGE)))
    return tuple(CompanyToVisit(row["slug"], row["name"], CompanyKind(row["kind"])) for row in rows)


@upholds("7.2.3", "2.4.4")
async def visit_company(scope: Scope, company: str, role: StaffRole, reason: str, minutes: int) -> OpenedVisit:
    """Open a company (by id or slug) to the scope's person, in a staff role, for a reason and so many minutes.

    The reason goes to the company's founders by mail and into its log. A visit that is still open ends. Raise NotFound
    for whoever is no staff, InvalidInput, NotProved, or CannotVisit: no such company, a role that one does not hold,
    or a company that one is a member of.
    """
    await own_staff_roles(scope)
    if not SHORTEST_VISIT_MINUTES <= minutes <= LONGEST_VISIT_MINUTES:
        raise InvalidInput(
            f"A visit lasts {SHORTEST_VISIT_MINUTES} to {LONGEST_VISIT_MINUTES} minutes.", field="minutes"
        )
    clean = visit_reason(reason)
    await require_recent_proof(scope, SensitiveOperation.VISIT_AS_STAFF)
    row = await store.open_staff_access(scope, company=company, role=role.value, reason=clean, minutes=minutes)
    match row["verdict"]:
        case "opened":
            return OpenedVisit(row["access"], row["slug"], row["until"])
        case "unproved":
            raise NotProved
        case _:
            raise CannotVisit


async def own_visits(scope: Scope) -> tuple[StaffVisit, ...]:
    """Return the scope's person's own last visits (at most 50), the newest first."""
    await own_staff_roles(scope)
    return tuple(_visit(row) for row in await store.own_staff_access(scope))


async def visits_to_company(scope: Scope, *, limit: int = LARGEST_PAGE) -> tuple[StaffVisit, ...]:
    """Return the last visits (at most 100) to the company of the scope, the newest first."""
    require(scope, Permission.MEMBERS_READ)
    return tuple(_visit(row) for row in await store.staff_access(scope, limit=max(1, min(limit, LARGEST_PAGE))))


@upholds("7.2.3")
async def end_visit(scope: Scope, visit: UUID) -> None:
    """End a visit at once: one's own, or, for whoever manages the company's members, any to the company of the scope.

    Raise NoSuchVisit where it is over, or neither.
    """
    if not await store.end_staff_access(scope, visit):
        raise NoSuchVisit


@upholds("7.2.3")
async def note_use(scope: Scope, method: str, path: str) -> None:
    """Leave an event in the company's log of what staff open. Does nothing for everybody else."""
    if scope.actor.kind is ActorKind.STAFF:
        await record(scope, Action.STAFF_ACCESS_USED, "address", path, method=method)


def _visit(row: Row) -> StaffVisit:
    ended: datetime | None = row["ended_at"]
    return StaffVisit(
        id=row["access"],
        company_slug=row["slug"],
        company_name=row["name"],
        person_name=row["person_name"],
        role=StaffRole(row["role"]),
        reason=row["reason"],
        opened_at=row["opened_at"],
        expires_at=row["expires_at"],
        ended_at=ended,
        is_open=row["is_open"],
    )
