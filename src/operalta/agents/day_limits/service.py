"""Reading and changing what a company's agents may use in a day."""

from operalta.access.rules import Permission
from operalta.agents.day_limits import store
from operalta.agents.day_limits.rules import Day, checked_day
from operalta.agents.definitions.rules import Limits
from operalta.agents.rules import RunUsage
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.errors import NotAllowed


async def get_day(scope: Scope) -> Day:
    """Return the company's limits and what its agents have used today, colleagues' private runs among that."""
    require(scope, Permission.AGENTS_READ)
    row = await store.day(scope)
    if row is None:
        raise NotAllowed
    used = RunUsage(row["steps"], row["tool_calls"], row["tokens"], row["cost_micros"], row["worked_ms"] / 1000)
    return Day(row["limits"], used, row["changed_by_name"], row["changed_at"])


async def change_limits(scope: Scope, limits: Limits) -> None:
    """Say what the company's agents may use in a day; what is left out is as usual. Holds from each run's next step on.

    Raise InvalidInput, or NotAllowed.
    """
    require(scope, Permission.AGENTS_MANAGE)
    if await store.change_limits(scope, checked_day(limits)) == "refused":
        raise NotAllowed
