"""Showing people what an agent was told."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from operalta.access.rules import Permission
from operalta.agents import store
from operalta.agents.context.rules import BUDGET_TOKENS, Piece
from operalta.agents.route_rules import BUILTIN_ROUTE
from operalta.agents.rules import EventKind
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.errors import NotFound
from operalta.kernel.ids import ConversationId
from operalta.terms.registry import upholds


@dataclass(frozen=True, slots=True)
class RunContext:
    """What a run was told beside its message. `is_searching`: on the built-in route, nothing; it searches by tools.

    `earlier_messages` of the same conversation went along. Tokens are about `CHARACTERS_PER_TOKEN` characters each.
    """

    conversation_id: ConversationId
    is_searching: bool
    earlier_messages: int
    pieces: tuple[Piece, ...]
    budget_tokens: int

    @property
    def tokens(self) -> int:
        """About how many tokens all pieces take."""
        return sum(piece.tokens for piece in self.pieces)


@upholds("5.1.1")
async def context_of_run(scope: Scope, run_id: UUID) -> RunContext:
    """Return what a run was told; nothing yet while it waits for its turn. Raise NotFound."""
    require(scope, Permission.AGENTS_RUN)
    run = await store.run(scope, run_id)
    event = await store.event_of_kind(scope, run_id, EventKind.CONTEXT_GATHERED.value) if run else None
    if run is None:
        raise NotFound
    body: dict[str, Any] = event["body"] if event else {}
    return RunContext(
        ConversationId(run["conversation_id"]),
        run["route"] == BUILTIN_ROUTE,
        int(body.get("earlier_messages", 0)),
        tuple(Piece.from_json(each) for each in body.get("pieces", ())),
        int(body.get("budget", {}).get("tokens", BUDGET_TOKENS)),
    )
