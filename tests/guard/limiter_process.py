"""A process of its own that asks a limiter very often, and prints how often it was let through.

Started as `python -m tests.guard.limiter_process` with one JSON object as its argument.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from operalta.guard.limiter import Limiter
from operalta.guard.rules import Dimension, Subjects, rules
from tests.guard.store_server import DIGEST_KEY

AT_ONCE = 250


@dataclass(frozen=True)
class Task:
    """Ask so often for a rule, so that only one of its dimensions can be full. `name` tells the askers apart."""

    url: str
    rule: str
    dimension: str
    calls: int
    name: str


def subjects_of(dimension: Dimension, name: str) -> Subjects:
    """Whoever is alike in one dimension and different in all the others."""
    number = hash(name) % 2**32
    different = {
        "identity": f"person:{name}",
        "address": ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0)),
        "company": f"company {name}",
    }
    alike = {"identity": "person:same", "address": "203.0.113.7", "company": "the same"}
    chosen = {**different, dimension.value: alike.get(dimension.value, "")}
    return Subjects(chosen["identity"], chosen["address"], chosen["company"])


async def admitted(limiter: Limiter, task: Task) -> int:
    """Return how many of the task's calls passed."""
    rule = next(each for each in rules() if each.name == task.rule)
    waiting = iter(range(task.calls))

    async def ask() -> int:
        passed = 0
        for number in waiting:
            subjects = subjects_of(Dimension(task.dimension), f"{task.name}-{number}")
            passed += (await limiter.decide(rule, subjects)).allowed
        return passed

    return sum(await asyncio.gather(*(ask() for _ in range(AT_ONCE))))


async def run(task: Task) -> int:
    async with Limiter(task.url, digest_key=DIGEST_KEY, socket_timeout_seconds=60, deadline_seconds=60) as limiter:
        await limiter.ping()
        return await admitted(limiter, task)


def run_together(tasks: Sequence[Task]) -> list[int]:
    """Run each task in a process of its own, at the same time, and return what each let through."""
    commands = [[sys.executable, "-m", "tests.guard.limiter_process", json.dumps(asdict(task))] for task in tasks]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    try:
        said = [process.communicate(timeout=150)[0] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0] * len(running)
    return [int(each) for each in said]


if __name__ == "__main__":
    print(asyncio.run(run(Task(**json.loads(sys.argv[1])))))  # noqa: T201 - the parent reads it
