"""Control groups for sandboxes, where this process was given a place for them: the kernel's own sum of what is used.

They come on top of what `watch` sees. The place is made by root before it is left (`operations.privileges`), version 2
or 1, with memory and processes; without one, sandboxes work as they do with it, watched from outside alone.
"""

import asyncio
import contextlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from operalta.sandbox.shell.rules import CommandLimits
from operalta.terms.registry import upholds

NAME = "operalta"
MOUNTED = Path("/sys/fs/cgroup")
_TRIES, _PAUSE_SECONDS = 200, 0.01


@dataclass(frozen=True, slots=True)
class ControlFiles:
    """Where a version of control groups has its limits: the folder, and the names of its files."""

    folder: Path
    memory: str | None
    processes: str | None
    killed: str | None


def places(mounted: Path = MOUNTED) -> tuple[ControlFiles, ...]:
    """Return where groups can be made by this process: both kinds of limits, or none."""
    if (mounted / "cgroup.controllers").exists():
        found = (ControlFiles(mounted / NAME, "memory.max", "pids.max", "memory.events"),)
    else:
        found = (
            ControlFiles(mounted / "memory" / NAME, "memory.limit_in_bytes", None, "memory.oom_control"),
            ControlFiles(mounted / "pids" / NAME, None, "pids.max", None),
        )
    return found if all(os.access(place.folder, os.W_OK) for place in found) else ()


class Group:
    """The control groups of one sandbox; nothing at all where there is no place for them."""

    def __init__(self, limits: CommandLimits, found: tuple[ControlFiles, ...] | None = None) -> None:
        """Make the groups, with the limits in them. What cannot be made is left out."""
        self._made: list[tuple[ControlFiles, Path]] = []
        name = f"sandbox-{secrets.token_hex(8)}"
        for place in places() if found is None else found:
            folder = place.folder / name
            try:
                folder.mkdir()
                if place.memory is not None:
                    (folder / place.memory).write_text(str(limits.memory_bytes))
                if place.processes is not None:
                    (folder / place.processes).write_text(str(limits.processes + 4))
            except OSError:
                with contextlib.suppress(OSError):
                    folder.rmdir()
                continue
            self._made.append((place, folder))

    @property
    def made(self) -> int:
        """How many groups there are."""
        return len(self._made)

    @upholds("5.3.2")
    def take_in(self, processes: tuple[int, ...]) -> None:
        """Move processes into the groups; what they start later begins there."""
        for _, folder in self._made:
            for process in processes:
                with contextlib.suppress(OSError):
                    (folder / "cgroup.procs").write_text(str(process))

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the kernel ended a process of the groups for its memory."""
        for place, folder in self._made:
            if place.killed is None:
                continue
            with contextlib.suppress(OSError):
                for line in (folder / place.killed).read_text().splitlines():
                    if line.startswith("oom_kill ") and line.split()[1] != "0":
                        return True
        return False

    async def remove(self) -> None:
        """Take the groups away, whose processes are gone. The kernel may count those for a moment more."""
        for _, folder in self._made:
            for _ in range(_TRIES):
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    await asyncio.sleep(_PAUSE_SECONDS)
                else:
                    break
        self._made.clear()
