"""A command in the sandbox against a bare bubblewrap with the same namespaces, as ratios.

    ./operalta bench sandboxed_command    (or: .venv/bin/python -m bench.sandboxed_command)

`true` is run in turn: bare, in a sandbox that waited for it, and in one that is started for it. Each round leaves time
for the next sandbox to be started, as between the commands of people; prints medians and never judges.
"""

import asyncio
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from operalta.operations.privileges import leave_root
from operalta.sandbox.shell.profile import Profile, namespaces_alone
from operalta.sandbox.shell.rules import CommandLimits, Job
from operalta.sandbox.shell.runner import CommandRunner

ROUNDS = 60
PAUSE_SECONDS = 0.25
TRUE = Job(("true",))


async def bare() -> None:
    """Run `true` in a bubblewrap with the same namespaces and nothing else, started as the product starts its own."""
    process = await asyncio.create_subprocess_exec(
        *namespaces_alone(("/bin/true",)), stdout=asyncio.subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/"
    )
    await process.communicate()
    if process.returncode != 0:
        raise RuntimeError("bubblewrap does not work here")


async def measure() -> None:
    """Print the medians in milliseconds, and their ratios to the bare one."""
    warm = CommandRunner(Profile(CommandLimits()), ahead=1)
    cold = CommandRunner(Profile(CommandLimits()), ahead=0)
    await warm.start()

    async def in_a_waiting_one() -> None:
        await warm.run(TRUE)

    async def in_a_new_one() -> None:
        await cold.run(TRUE)

    calls: dict[str, Callable[[], Awaitable[None]]] = {
        "bare bubblewrap": bare,
        "a sandbox that waited": in_a_waiting_one,
        "a sandbox started for it": in_a_new_one,
    }
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            await asyncio.sleep(PAUSE_SECONDS)
            began = time.perf_counter()
            await call()
            taken[name].append((time.perf_counter() - began) * 1_000)
    await warm.close()
    await cold.close()
    base = statistics.median(taken["bare bubblewrap"])
    for name, values in taken.items():
        median = statistics.median(values)
        print(f"{name:26} {median:7.2f} ms   {median / base:5.2f}x")


if __name__ == "__main__":
    leave_root(Path(__file__).resolve().parent.parent, (), module="bench.sandboxed_command")
    asyncio.run(measure())
