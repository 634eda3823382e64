"""What tests of other programs' ways in share: a key of the house, and a worker for its runs."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.agents.conftest import Desk
from tests.web.conftest import House


def key(house: House, *scopes: str, kind: str = "company") -> str:
    body = {"name": "A program", "scopes": list(scopes or ("agents:run", "memory:write", "files:write")), "kind": kind}
    made = house.founder.api("POST", f"/companies/{house.slug}/api-keys", body)
    assert made.status == 201, made.text
    return made.json["api_key"]


@asynccontextmanager
async def working(desk: Desk, house: House) -> AsyncGenerator[None]:
    """Work on every run of the house's company as it comes."""
    company = house.members["founder"].company_id

    async def work() -> None:
        while True:
            for run in desk.rows("SELECT id FROM agents.runs WHERE company_id = %s AND status = 'queued'", company):
                await desk.work(run["id"])
            await asyncio.sleep(0.05)

    worker = asyncio.create_task(work())
    try:
        yield
    finally:
        worker.cancel()
