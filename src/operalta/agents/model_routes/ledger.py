"""The ledger of a run: each request to a model is a line before it is sent, whatever becomes of it. Never content.

Before the line stands the company's own list, read anew, so that a route that was taken off it is not asked again.
"""

from dataclasses import dataclass
from typing import Any

from operalta.agents.journal import Attempt
from operalta.agents.model_routes import store
from operalta.agents.model_routes.asking import RoutedTurn
from operalta.agents.model_routes.company_list import company_routes
from operalta.agents.routes import ModelRoute, RouteRegistry
from operalta.db.scope import Scope
from operalta.kernel.errors import Refusal
from operalta.kernel.ids import new_id
from operalta.terms.registry import upholds

_INSTEAD = "The provider did not answer. The fall-back was to be asked instead."


@dataclass(frozen=True, slots=True)
class Ledger:
    """Writes the lines of one attempt at a run."""

    attempt: Attempt
    routes: RouteRegistry

    @upholds("5.6.1", "5.6.3")
    async def admit(self, slug: str) -> ModelRoute:
        """Return the route, if it may be asked at this moment, and write down that it is. Raise as `usable` does."""
        async with self.attempt.scope() as scope:
            await self.attempt.stop_if_wanted(scope)
            await end_requests(scope, self.attempt, "failed", _INSTEAD)
            try:
                route = self.routes.usable(slug, await company_routes(scope))
            except Refusal as refused:
                refusal = refused
            else:
                await self._add(scope, slug, "asked", None)
                return route
            await self._add(scope, slug, "refused", refusal.public_text)
        raise refusal

    async def _add(self, scope: Scope, slug: str, outcome: str, reason: str | None) -> None:
        known = self.routes.known(slug)
        line: dict[str, Any] = {
            "id": new_id(),
            "run": self.attempt.claim.run_id,
            "agent": self.attempt.run["agent_id"],
            "route": slug,
            "provider": known.provider if known else None,
            "host": known.host[:300] if known and known.host else None,
            "region": known.region if known else None,
            "model": known.model if known else None,
            "outcome": outcome,
            "reason": reason[:300] if reason else None,
        }
        await store.add_request(scope, line)


async def end_requests(
    scope: Scope,
    attempt: Attempt,
    outcome: str,
    reason: str | None = None,
    answered: RoutedTurn | None = None,
    sent: int | None = None,
) -> None:
    """Write down how the request that is under way has ended, if one is: answered, failed, stopped or lost.

    What it took is known only of an answer; of another, `sent` is an estimate of the tokens that went out.
    """
    usage = answered.turn.usage if answered else None
    end: dict[str, Any] = {
        "outcome": outcome,
        "reason": reason[:300] if reason else None,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cost_micros": answered.cost_micros if answered else None,
        "estimated_tokens": sent,
    }
    await store.end_requests(scope, attempt.claim.run_id, end)
