"""What people do with a run of their own that ended without an answer: try it again, or let it go on after a limit."""

from uuid import UUID

from operalta.access.rules import Permission
from operalta.agents import store
from operalta.agents.day_limits.service import get_day
from operalta.agents.errors import CannotGoOn, DaySpent, TriedAgainAlready, WentOnOften
from operalta.agents.service import get_run
from operalta.audit.rules import Action
from operalta.audit.service import record
from operalta.db.permission import require
from operalta.db.scope import Scope
from operalta.kernel.errors import NotFound
from operalta.kernel.ids import RunId, new_id
from operalta.terms.registry import upholds


@upholds("5.0.1")
async def retry_run(scope: Scope, run_id: UUID) -> RunId:
    """Make another run for the message of one's own run that failed or was stopped, and return it.

    It begins with that message anew, and is told what the tries before it did. What they did, or may have done, is not
    repeated without asking; and the message counts for what it counted then, since nobody has typed it now. Raise
    NotFound, also for a run that is not over, or TriedAgainAlready.
    """
    require(scope, Permission.AGENTS_RUN)
    await get_run(scope, run_id)
    made = RunId(new_id())
    came = await store.retry_run(scope, run_id, made)
    if came == "again":
        raise TriedAgainAlready
    if came != "made":
        raise NotFound
    await record(scope, Action.RUN_RETRIED, "run", run_id, by=str(made))
    return made


@upholds("5.0.1")
async def continue_run(scope: Scope, run_id: UUID) -> None:
    """Give one's own run that a limit has ended the same allowance again, from its last step, at most three times.

    Raise NotFound, CannotGoOn, WentOnOften, TriedAgainAlready, or DaySpent where the company allows nothing more today.
    """
    require(scope, Permission.AGENTS_RUN)
    run = await get_run(scope, run_id)
    if run.limit_reached is not None and (reached := (await get_day(scope)).reached) is not None:
        raise DaySpent(reached.public_text)
    match await store.continue_run(scope, run_id):
        case "continued":
            await record(scope, Action.RUN_CONTINUED, "run", run_id, limit=run.limit_reached)
        case "spent":
            raise WentOnOften
        case "again":
            raise TriedAgainAlready
        case _:
            raise CannotGoOn
