"""No tool reaches what passes row security: not by its code, and not by the role that runs work with."""

from pathlib import Path

import pytest

import operalta
from operalta.agents.journal import run_scope
from operalta.assurance.probes.agents import store
from operalta.assurance.probes.agents.reach import ELEVATED, imported_from, modules_in, tool_modules
from operalta.db.elevated_flows import FLOWS
from operalta.db.pools import Connection
from tests.agents.conftest import Desk, Office
from tests.conftest import Pools

pytestmark = pytest.mark.proves("5.1.4")
MODULES = modules_in(Path(operalta.__path__[0]))


async def test_what_tools_do_stands_in_modules_that_reach_nothing_elevated(desk: Desk) -> None:
    functions = {tool.name: tool.run for tool in desk.registry if tool.run is not None}
    homes = {name: run.__module__ for name, run in functions.items()}
    assert set(homes.values()) <= set(tool_modules(MODULES)), homes
    assert len(homes) > 15
    assert ELEVATED not in imported_from(tool_modules(MODULES), MODULES)


def test_what_does_reach_it_is_found_however_far_off() -> None:
    assert ELEVATED in imported_from(["operalta.agents.schedules.beginning"], MODULES)
    assert ELEVATED in imported_from(["operalta.cli"], MODULES)


async def refused(connection: Connection) -> bool:
    count, may = await store.elevated_functions(connection)
    roles = [await store.try_role(connection, role) for role in ("operalta_job", "operalta_definer", "operalta_owner")]
    return count == len(FLOWS) and not may and not any(roles) and await store.try_elevated(connection) != "done"


async def test_the_role_of_runs_may_call_nothing_elevated_in_a_runs_scope_neither(
    desk: Desk, office: Office, pools: Pools
) -> None:
    async with pools.worker.acquire() as connection:
        assert await refused(connection)
    posted = await desk.write(office.founder, "/find prices")
    async with desk.dispatcher.claimed(posted.run_id) as claim:
        assert claim is not None
        async with run_scope(pools.worker, claim) as scope:
            assert await refused(scope.connection)
    async with pools.job.acquire() as connection:
        assert (await store.elevated_functions(connection))[1], "the job role may, and that is seen"
