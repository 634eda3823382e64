"""Reading the ledger: which models were asked for the company, where, when and at what cost."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from operalta.access.rules import Permission
from operalta.agents.model_routes import store
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.terms.registry import upholds
from operalta.workspace.rules import USUAL_PAGE, Page, Position, checked_limit, page_of, position_cursor, position_in


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A line of the ledger. Without a host nothing left the deployment. What nobody knows is None."""

    id: UUID
    run_id: UUID
    agent_id: UUID
    agent_name: str | None
    route: str
    provider: str | None
    host: str | None
    region: str | None
    model: str | None
    asked_at: datetime
    ended_at: datetime | None
    outcome: str
    reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    cost_micros: int | None


@upholds("5.6.3")
async def list_requests(scope: Scope, cursor: str | None = None, limit: int = USUAL_PAGE) -> Page[ModelRequest]:
    """Return requests to models, newest first. Raise InvalidInput for a cursor that is none."""
    require(scope, Permission.AUDIT_READ)
    place = position_in(cursor)
    rows = await store.requests(scope, checked_limit(limit) + 1, (place.at, place.id) if place else None)
    return page_of([ModelRequest(**row) for row in rows], limit, _cursor_after)


def _cursor_after(request: ModelRequest) -> str:
    return position_cursor(Position(request.asked_at, request.id))
