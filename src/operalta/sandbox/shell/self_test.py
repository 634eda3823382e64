"""Whether there is a shell: decided at start, by trying to get out, and by trying to stay.

What counts is behaviour, on this kernel, with this bubblewrap, as this user; versions say nothing. One attempt that
succeeds, or one that could not be made, and commands are off until the next start.
"""

import asyncio
import contextlib
import json
import os
import secrets
import socket
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from operalta.sandbox.errors import ShellUnavailable
from operalta.sandbox.shell import watch
from operalta.sandbox.shell.member import Member
from operalta.sandbox.shell.profile import OUT_OF_REACH, Profile, environment
from operalta.sandbox.shell.rules import MEBIBYTE, CommandLimits, Ending, Job
from operalta.terms.registry import upholds

_PROGRAM = Path(__file__).resolve().parent / "attempts"
SMALL = CommandLimits(
    seconds=20,
    memory_bytes=160 * MEBIBYTE,
    address_space_bytes=1_024 * MEBIBYTE,
    processes=24,
    flood_bytes=2 * MEBIBYTE,
    files_bytes=32 * MEBIBYTE,
    file_bytes=16 * MEBIBYTE,
    entries=500,
)
_GONE_SECONDS = 5.0
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Staying:
    """A command that tries to use more than it may, or to outlive its end; and how it may end.

    Those `at_start` are tried by the self-test, one for each way in which a sandbox is held; the others by the tests.
    """

    name: str
    command: str
    endings: tuple[Ending, ...]
    seconds: float | None = None
    at_start: bool = False


STAYING = (
    Staying("run for ever", "sleep 600", (Ending.TIME,), 0.3),
    Staying("ignore being told to end", "trap '' TERM INT HUP; while :; do :; done", (Ending.TIME,), 0.3),
    Staying("outlive the command in a session of its own", "setsid sleep 600 >/dev/null 2>&1 & (setsid sleep 600 &)",
            (Ending.FINISHED,), at_start=True),
    Staying("hold the output open", "setsid sleep 600 & echo done", (Ending.FINISHED,)),
    Staying("run for ever without an output", "exec >&- 2>&-; sleep 600", (Ending.TIME,), 0.3),
    Staying("start processes without end",
            "exec python3 -c 'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass'",
            (Ending.TIME, Ending.PROCESSES), 0.6, at_start=True),
    Staying("take memory in one process",
            "exec python3 -c 'import time; x = bytearray(b\"1\" * (400 << 20)); time.sleep(600)'", (Ending.MEMORY,)),
    Staying("take memory behind a first thread that has ended",
            "exec python3 -c 'import ctypes, threading, time\ndef eat():\n  time.sleep(0.2)\n"
            '  x = bytearray(b"1" * (400 << 20))\n  time.sleep(600)\n'
            "threading.Thread(target=eat).start()\nctypes.CDLL(None).pthread_exit(0)'", (Ending.MEMORY,)),
    Staying("take memory in many processes",
            "for i in 1 2 3 4; do python3 -c 'import time; x = bytearray(b\"1\" * (60 << 20)); time.sleep(600)' & "
            "done; wait", (Ending.MEMORY,), at_start=True),
    Staying("fill the folders",
            "for i in 1 2 3 4 5 6 7 8; do for d in /work /tmp /dev/shm; do "
            "head -c 12000000 /dev/zero > $d/f$i 2>/dev/null; done; done; sleep 600", (Ending.TIME,), 1.0),
    Staying("make files without end",
            "exec python3 -c 'import itertools\nfor n in itertools.count(): open(str(n), \"w\").close()'",
            (Ending.ENTRIES,)),
    Staying("write without end", "yes", (Ending.OUTPUT,), at_start=True),
    Staying("end the program that watches over it", "kill -9 $PPID; sleep 600", (Ending.BROKEN,)),
    Staying("end everything", "kill -9 -1; sleep 600", (Ending.BROKEN,)),
    Staying("halt the program that watches over it", "kill -STOP $PPID; sleep 600", (Ending.TIME,), 0.4),
)  # fmt: skip


AT_START = tuple(staying for staying in STAYING if staying.at_start)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the self-test ended: `escaped` names what was not held, `reason` tells people; empty where all was."""

    attempts: int
    escaped: tuple[str, ...]
    reason: str = ""

    @property
    def passed(self) -> bool:
        """Whether commands may be run."""
        return not self.escaped and not self.reason and self.attempts > 0


@upholds("5.3.1", "5.3.2", "5.3.3")
async def self_test(profile: Profile, folder: Path | None = None) -> Verdict:
    """Try to get out of a sandbox of this profile, and to use more than a small one allows. Never raises.

    `folder` is where a canary is planted that must not be seen inside: a folder of the server's secrets.
    """
    small = Profile(SMALL, profile.bindings)
    try:
        places = asyncio.Semaphore(_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            getting = group.create_task(getting_out(profile, folder))
            held = [group.create_task(_held_in_turn(small, staying, places)) for staying in AT_START]
    except ExceptionGroup as failed:
        first = failed.exceptions[0]
        unavailable = first.public_text if isinstance(first, ShellUnavailable) else None
        return Verdict(0, (), unavailable or f"The sandbox could not be tested ({type(first).__name__}).")
    escaped, attempts = getting.result()
    escaped += [staying.name for staying, was_held in zip(AT_START, held, strict=True) if not was_held.result()]
    attempts += len(AT_START)
    if escaped:
        return Verdict(attempts, tuple(escaped), f"The sandbox did not hold against: {'; '.join(escaped)}.")
    return Verdict(attempts, ())


async def getting_out(profile: Profile, folder: Path | None = None) -> tuple[list[str], int]:
    """Return which attempts to get out succeeded, of how many. Raise ValueError where they could not be made."""
    async with _planted(folder) as planted:
        planted |= {"environment": sorted(environment(network=False)), "out_of_reach": OUT_OF_REACH}
        planted |= {"files_bytes": profile.limits.files_bytes}
        arguments = ("python3", "-s", "-E", "-B", "-m", "attempts", json.dumps(planted))
        member = await Member.start(profile)
        report = await member.run(Job(arguments, files=_program(), seconds=30))
    told: Any = json.loads(report.output or b"null")
    if report.ending is not Ending.FINISHED or report.exit_code != 0 or not isinstance(told, dict):
        raise ValueError("the attempts were not made")
    found = cast("dict[str, str]", told)
    return [f"{name} ({got})" for name, got in found.items() if got], len(found)


def _program() -> dict[str, bytes]:
    return {f"attempts/{file.name}": file.read_bytes() for file in _PROGRAM.glob("*.py")}


async def _held_in_turn(profile: Profile, staying: Staying, places: asyncio.Semaphore) -> bool:
    async with places:
        return await is_held(profile, staying)


async def is_held(profile: Profile, staying: Staying) -> bool:
    """Tell whether a command was ended as it must be, with all that it had started."""
    member = await Member.start(profile)
    report = await member.run(Job(("/bin/sh", "-c", staying.command), seconds=staying.seconds))
    return report.ending in staying.endings and await _is_empty(member)


async def _is_empty(member: Member) -> bool:
    """Tell whether a sandbox that was ended has no process left."""
    for _ in range(int(_GONE_SECONDS / watch.INTERVAL_SECONDS)):
        if not watch.exists(member.first):
            return True
        await asyncio.sleep(watch.INTERVAL_SECONDS)
    return False


@asynccontextmanager
async def _planted(place: Path | None) -> AsyncGenerator[dict[str, Any]]:
    """Plant, outside, what must not be found inside: a file, a variable, listening sockets, shared memory."""
    word = f"canary{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_canary(word, place))
        os.environ["OPERALTA_SELF_TEST"] = word
        stack.callback(os.environ.pop, "OPERALTA_SELF_TEST", None)
        listening = [socket.socket(family, socket.SOCK_STREAM) for family in (socket.AF_INET, *[socket.AF_UNIX] * 2)]
        for one, address in zip(listening, (("127.0.0.1", 0), f"\0{word}", str(folder / "socket")), strict=True):
            stack.enter_context(one)
            one.bind(address)
            one.listen(1)
        stack.enter_context(_shared_memory(word))
        yield {
            "word": word,
            "file": str(folder / "canary"),
            "socket": str(folder / "socket"),
            "abstract": word,
            "port": listening[0].getsockname()[1],
            "process": os.getpid(),
        }


@contextmanager
def _canary(word: str, place: Path | None) -> Generator[Path]:
    """Write a file, and leave it open in a descriptor that programs inherit unless somebody prevents it."""
    with tempfile.TemporaryDirectory(prefix="self-test-", dir=place) as name:
        file = Path(name, "canary")
        file.write_text(word)
        opened = os.open(file, os.O_RDONLY)
        os.set_inheritable(opened, True)
        try:
            yield file.parent
        finally:
            os.close(opened)


@contextmanager
def _shared_memory(word: str) -> Generator[None]:
    name = Path("/dev/shm", word)  # noqa: S108 - planted for the sandbox not to see
    try:
        name.write_text(word)
    except OSError:
        yield  # this host has none
        return
    try:
        yield
    finally:
        name.unlink(missing_ok=True)
