"""Stop ends a tool that is under way, at once, and lets one that is done keep its result."""

import asyncio
from uuid import uuid4

import pytest

from operalta.agents.dispatch import Claim, unless_stopped
from operalta.agents.registry import ToolResult
from operalta.kernel.errors import NotFound


async def test_a_tool_that_hangs_is_ended_by_stop() -> None:
    claim = Claim(uuid4(), "secret")
    ended = asyncio.Event()

    async def hang() -> ToolResult:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        return ToolResult("never")

    async def stop_soon() -> None:
        await asyncio.sleep(0)
        claim.stop.set()

    result, _ = await asyncio.gather(unless_stopped(claim, hang()), stop_soon())
    assert result is None
    assert ended.is_set()


async def test_a_result_and_a_refusal_come_through() -> None:
    claim = Claim(uuid4(), "secret")

    async def work() -> ToolResult:
        return ToolResult("done")

    async def refuse() -> ToolResult:
        raise NotFound

    assert await unless_stopped(claim, work()) == ToolResult("done")
    with pytest.raises(NotFound):
        await unless_stopped(claim, refuse())
