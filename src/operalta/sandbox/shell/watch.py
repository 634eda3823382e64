"""What a sandbox uses, seen from outside: the memory of all its processes, and what lies in its folders.

Limits of one process do not bound many, and files in memory count for no process; so all of it is added up, from the
host's own view of the sandbox, which nothing inside can change.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from operalta.sandbox.shell.profile import WORK
from operalta.sandbox.shell.rules import CommandLimits, Ending
from operalta.terms.registry import upholds

INTERVAL_SECONDS = 0.04
_MOST_PROCESSES = 4_096
_OWN_PROCESSES = 2
_MOST_FAILURES = 25
_COUNTED = ("RssAnon:", "RssShmem:", "VmSwap:", "VmPTE:")
_FOLDERS = (WORK, "/tmp", "/dev/shm")  # noqa: S108 - of the sandbox


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used at one moment."""

    memory_bytes: int
    entries: int
    processes: int


@upholds("5.3.2")
async def until_exceeded(first: int, limits: CommandLimits) -> Ending:
    """Return which limit was passed, once one is. `first` is the host's number of the sandbox's first process.

    Raise OSError where the sandbox cannot be looked into, which must end it as well. Where it has ended by itself,
    there is nothing to watch any more, and what it has said last is still to be read: then this waits for ever.
    """
    failures = 0
    while True:
        await asyncio.sleep(INTERVAL_SECONDS)
        try:
            used = await asyncio.to_thread(usage, first)
        except OSError:
            # A process on its way out has lost its folders before it has ended.
            failures += 1
            if failures == _MOST_FAILURES:
                raise
            if not exists(first):
                await asyncio.Event().wait()
            continue
        failures = 0
        if used.memory_bytes > limits.memory_bytes:
            return Ending.MEMORY
        # The kernel holds this limit itself; old ones count all that the user runs, elsewhere too.
        if used.processes > limits.processes + _OWN_PROCESSES:
            return Ending.PROCESSES
        if used.entries > limits.entries:
            return Ending.ENTRIES


def usage(first: int) -> Usage:
    """Return what the sandbox of this first process uses. Raise OSError where it is gone or closed to us."""
    stored = entries = 0
    for folder in _FOLDERS:
        found = os.statvfs(f"/proc/{first}/root{folder}")
        stored += (found.f_blocks - found.f_bfree) * found.f_frsize
        entries += found.f_files - found.f_ffree
    processes = descendants(first)
    return Usage(stored + sum(_anonymous_bytes(process) for process in processes), entries, len(processes))


def descendants(first: int) -> tuple[int, ...]:
    """Return all processes of the sandbox: what loses its parent becomes a child of the first."""
    found = [first]
    for process in found:
        try:
            for thread in Path(f"/proc/{process}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
        except OSError:
            continue  # it has just ended
        if len(found) > _MOST_PROCESSES:
            break
    return tuple(found)


def _anonymous_bytes(process: int) -> int:
    """Return what is this process's alone; pages that several share may be counted several times."""
    try:
        threads = sorted(Path(f"/proc/{process}/task").iterdir())
        for thread in threads:
            lines = (thread / "status").read_text(errors="replace").splitlines()
            found = [int(line.split()[1]) for line in lines if line.startswith(_COUNTED)]
            if found:  # a first thread that has ended tells nothing, while the others still have all of it
                return sum(found) * 1024
    except OSError:
        pass  # it has just ended
    return 0


def exists(first: int) -> bool:
    """Tell whether a sandbox's first process is still there, not ended or only waiting to be collected."""
    try:
        state = Path(f"/proc/{first}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state not in {"Z", "X"}
