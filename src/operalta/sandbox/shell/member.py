"""One sandbox: started ahead, used for one command, ended for good."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias

from operalta.sandbox.errors import ShellUnavailable
from operalta.sandbox.shell import watch
from operalta.sandbox.shell.cgroups import Group
from operalta.sandbox.shell.filter import FilterUnknown, system_call_filter
from operalta.sandbox.shell.profile import Profile, command, environment, options
from operalta.sandbox.shell.rules import CommandLimits, Ending, Job, KeptOutput, Report
from operalta.sandbox.shell.wire import (
    HEADER,
    Frame,
    Kind,
    Malformed,
    exit_code_in,
    frame,
    kind_and_length,
    name_and_bytes,
    with_name,
)
from operalta.terms.registry import upholds

READY_SECONDS = 20.0
_LONGEST_REASON = 300
_MOST_NAMES = 1_000

Say: TypeAlias = Callable[[bytes], Awaitable[None]]
"""Takes each piece of output as it comes."""


class Tunnels(Protocol):
    """Where a command's connections to its local proxy lead. It is made for one command."""

    def opened(self, number: int, send: Callable[[bytes], Awaitable[None]], end: Callable[[], Awaitable[None]]) -> None:
        """Take a new connection; `send` gives it bytes, and `end` closes it once they have arrived."""
        ...

    async def sent(self, number: int, piece: bytes) -> None:
        """Take what the command sent; waits while the destination does not read."""
        ...

    def closed(self, number: int) -> None:
        """Know that the command has closed it."""
        ...

    async def end(self) -> None:
        """Close all of them."""
        ...


@dataclass(slots=True)
class _Said:
    """What has come out so far."""

    output: KeptOutput
    code: int | None = None
    changed: dict[str, bytes] = field(default_factory=dict[str, bytes])
    removed: list[str] = field(default_factory=list[str])
    not_returned: list[str] = field(default_factory=list[str])
    bytes_returned: int = 0


class Member:
    """A sandbox that has shut itself in and waits for its command."""

    def __init__(self, process: asyncio.subprocess.Process, first: int, limits: CommandLimits) -> None:
        """Take a started bubblewrap and the host's number of the sandbox's first process."""
        self._process = process
        self._limits = limits
        self.first = first
        self._handle = os.pidfd_open(first)
        self._group = Group(limits)
        self._group.take_in((process.pid, *watch.descendants(first)))
        self._sending = asyncio.Lock()

    @classmethod
    async def start(cls, profile: Profile) -> Self:
        """Start a sandbox and wait until it is shut in. Raise ShellUnavailable with what stood in the way.

        A caller that gives up waits until it has started, and ends it then: one that is interrupted half-way has no
        process yet that could be ended.
        """
        starting = asyncio.ensure_future(cls._start(profile))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await asyncio.wait({starting})
            if not starting.cancelled() and starting.exception() is None:
                await starting.result().end()
            raise

    @classmethod
    async def _start(cls, profile: Profile) -> Self:
        if os.geteuid() == 0:
            # What root starts has no limit on processes, and would be root wherever a layer fails.
            raise ShellUnavailable("Commands are not run by root. Start the worker as an ordinary user.")
        program = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
        if program is None:
            raise ShellUnavailable("Commands need bubblewrap, which is not installed on this server.")
        try:
            descriptors = [_holding(system_call_filter()), _holding(b"\0".join(map(os.fsencode, options(profile))))]
        except FilterUnknown:
            raise ShellUnavailable("Commands need a server with an x86_64 or arm64 processor.") from None
        seccomp, arguments = descriptors
        told, telling = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                program, "--args", str(arguments), "--seccomp", str(seccomp), "--info-fd", str(telling), "--",
                *command(profile),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                pass_fds=(*descriptors, telling), env={}, cwd="/",
            )  # fmt: skip
        except OSError as error:
            os.close(told)
            raise ShellUnavailable(f"A sandbox could not be started ({error.strerror}).") from error
        finally:
            for descriptor in (*descriptors, telling):
                os.close(descriptor)
        try:
            return await cls._once_ready(process, told, profile.limits)
        except BaseException:
            await asyncio.shield(_abandon(process))
            raise
        finally:
            os.close(told)

    @classmethod
    async def _once_ready(cls, process: asyncio.subprocess.Process, told: int, limits: CommandLimits) -> Self:
        try:
            async with asyncio.timeout(READY_SECONDS):
                kind, _ = kind_and_length(await _stream(process.stdout).readexactly(HEADER.size))
        except (TimeoutError, asyncio.IncompleteReadError, Malformed):
            raise ShellUnavailable(f"A sandbox did not start: {await _last_words(process)}.") from None
        if kind is not Kind.READY:
            raise ShellUnavailable("A sandbox did not start as it should.")
        try:
            return cls(process, int(json.loads(os.read(told, 4_096))["child-pid"]), limits)
        except (ValueError, KeyError, OSError):
            raise ShellUnavailable("A sandbox ended as soon as it had started.") from None

    @property
    def alive(self) -> bool:
        """Whether it still waits."""
        return self._process.returncode is None

    @upholds("5.3.2")
    async def run(self, job: Job, say: Say | None = None, tunnels: Tunnels | None = None) -> Report:
        """Run the command, end the sandbox, and return what was seen. A caller that gives up ends it at once."""
        limits, said = self._limits, _Said(KeptOutput(self._limits.output_bytes))
        seconds = min(job.seconds or limits.seconds, limits.seconds)
        began = time.monotonic()
        work = [
            asyncio.ensure_future(each)
            for each in (self._exchange(job, said, say, tunnels), watch.until_exceeded(self.first, limits))
        ]
        try:
            done, _ = await asyncio.wait(work, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            ending = Ending.TIME if not done else _ending(next(iter(done)))
            if self._group.ran_out_of_memory:
                ending = Ending.MEMORY
        finally:
            self._kill()
            for each in work:
                each.cancel()
            if tunnels is not None:
                await tunnels.end()
            await asyncio.gather(*work, return_exceptions=True)
            await asyncio.shield(self.end())
        kept, left_out = said.output.kept
        # What a command that was ended had begun to hand back does not count.
        counts = said if ending is Ending.FINISHED else _Said(said.output)
        return Report(
            ending,
            counts.code,
            kept,
            left_out,
            time.monotonic() - began,
            counts.changed,
            tuple(counts.removed),
            tuple(counts.not_returned),
        )

    async def end(self) -> None:
        """End every process in it, and return once they are gone. Once is enough; more does no harm."""
        self._kill()
        # What nobody reads any more keeps a pipe open, and an open pipe would keep `wait` waiting.
        await asyncio.gather(*(_drain(each) for each in (self._process.stdout, self._process.stderr)))
        await self._process.wait()
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
            await self._group.remove()

    def _kill(self) -> None:
        if self._handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    async def _exchange(self, job: Job, said: _Said, say: Say | None, tunnels: Tunnels | None) -> Ending:
        feeding = asyncio.ensure_future(self._feed(job, network=tunnels is not None))
        try:
            while (one := await self._receive()) is not None:
                if one.kind is Kind.DONE:
                    return Ending.FINISHED if said.code is not None else Ending.BROKEN
                if one.kind >= Kind.TUNNEL_OPEN:
                    await self._tunnel(one, tunnels)
                elif one.kind is Kind.OUTPUT:
                    said.output.add(one.payload)
                    if said.output.total > self._limits.flood_bytes:
                        return Ending.OUTPUT
                    if say is not None:
                        await say(one.payload)
                else:
                    self._take(one, said)
        except Malformed:
            pass
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
        return Ending.BROKEN

    async def _feed(self, job: Job, *, network: bool) -> None:
        for name, content in job.files.items():
            await self._send(with_name(Kind.FILE, name, content))
        if job.standard_input:
            await self._send(frame(Kind.INPUT, job.standard_input))
        told = {
            "arguments": job.arguments,
            "environment": environment(network=network),
            "network": network,
            "returns_files": job.returns_files,
        }
        await self._send(frame(Kind.RUN, json.dumps(told).encode()))

    async def _send(self, data: bytes) -> None:
        stream = self._process.stdin
        if stream is not None:
            async with self._sending:
                stream.write(data)
                await stream.drain()

    async def _receive(self) -> Frame | None:
        """Return the next frame; None where the sandbox says nothing more. Raise Malformed."""
        stream = _stream(self._process.stdout)
        try:
            kind, length = kind_and_length(await stream.readexactly(HEADER.size))
            return Frame(kind, await stream.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    def _take(self, one: Frame, said: _Said) -> None:
        """Take what came of the command. Raise Malformed for what the inner program would not say."""
        if one.kind is Kind.ENDED and said.code is None:
            said.code = exit_code_in(one.payload)
            return
        if said.code is None or one.kind not in {Kind.CHANGED, Kind.REMOVED, Kind.NOT_RETURNED}:
            raise Malformed
        name, content = name_and_bytes(one.payload)
        if one.kind is Kind.CHANGED:
            said.bytes_returned += len(content)
            if said.bytes_returned > self._limits.returned_bytes or len(said.changed) >= self._limits.returned_files:
                raise Malformed
            said.changed[name] = content
            return
        names = said.removed if one.kind is Kind.REMOVED else said.not_returned
        if len(names) < _MOST_NAMES:
            names.append(name)

    async def _tunnel(self, one: Frame, tunnels: Tunnels | None) -> None:
        if tunnels is None or len(one.payload) < 4:  # noqa: PLR2004 - a tunnel's number
            raise Malformed
        number = one.payload[:4]
        place = int.from_bytes(number)
        if one.kind is Kind.TUNNEL_OPEN:
            tunnels.opened(
                place,
                lambda piece: self._send(frame(Kind.TUNNEL_DATA, number + piece)),
                lambda: self._send(frame(Kind.TUNNEL_END, number)),
            )
        elif one.kind is Kind.TUNNEL_SENT:
            await tunnels.sent(place, one.payload[4:])
        else:
            tunnels.closed(place)


def _ending(work: "asyncio.Future[Ending]") -> Ending:
    """Return how it ended; that it is broken where nobody can tell."""
    return Ending.BROKEN if isinstance(work.exception(), OSError) else work.result()


async def _drain(stream: asyncio.StreamReader | None) -> None:
    with contextlib.suppress(ConnectionError):
        while stream is not None and await stream.read(256 * 1024):
            pass


def _stream(stream: asyncio.StreamReader | None) -> asyncio.StreamReader:
    if stream is None:
        raise RuntimeError("the sandbox was started without a pipe")
    return stream


async def _abandon(process: asyncio.subprocess.Process) -> None:
    """End a bubblewrap that is not ready, at whatever point of its way it is.

    Its child obeys the death of its parent only from a point on; before that it would wait for ever.
    """
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGSTOP)
        for child in watch.descendants(process.pid)[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.kill()
    await asyncio.gather(_drain(process.stdout), _drain(process.stderr))
    await process.wait()


async def _last_words(process: asyncio.subprocess.Process) -> str:
    """Return what bubblewrap or the inner program said before it gave up."""
    try:
        async with asyncio.timeout(1):
            text = (await _stream(process.stderr).read(64 * 1024)).decode("utf-8", "replace").strip()
    except TimeoutError:
        text = ""
    line = text.splitlines()[-1] if text else "it said nothing"
    return line[:_LONGEST_REASON].rstrip(".")


def _holding(content: bytes) -> int:
    """Return a descriptor from which `content` can be read once, without a file on any disk."""
    descriptor = os.memfd_create("operalta", os.MFD_CLOEXEC)
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
