"""Sandboxes started ahead, so that a command does not wait for one. Each is used once."""

import asyncio
from collections import deque

import structlog

from operalta.sandbox.errors import ShellUnavailable
from operalta.sandbox.shell.member import Member
from operalta.sandbox.shell.profile import Profile

log = structlog.get_logger(__name__)


class SandboxPool:
    """Sandboxes of one profile, `ahead` of them waiting, at most `most` in use at once."""

    def __init__(self, profile: Profile, *, ahead: int = 1, most: int = 4) -> None:
        self.profile = profile
        self._ahead = ahead
        self.places = asyncio.Semaphore(most)
        self._waiting: deque[Member] = deque()
        self._refilling: asyncio.Task[None] | None = None
        self._closed = False

    async def fill(self) -> None:
        """Start those that are to wait. Raise ShellUnavailable where none starts."""
        while len(self._waiting) < self._ahead and not self._closed:
            self._waiting.append(await Member.start(self.profile))

    async def take(self) -> Member:
        """Return a sandbox that nobody has used, and have the next one started."""
        member = None
        while self._waiting and member is None:
            candidate = self._waiting.popleft()
            if candidate.alive:
                member = candidate
            else:
                await candidate.end()
        member = member or await Member.start(self.profile)
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.create_task(self._refill())
        return member

    def give_back(self, member: Member) -> None:
        """Have a sandbox wait again that was taken and not used."""
        self._waiting.appendleft(member)

    async def close(self) -> None:
        """End all that wait."""
        self._closed = True
        if self._refilling is not None:
            await asyncio.gather(self._refilling, return_exceptions=True)
        while self._waiting:
            await self._waiting.popleft().end()

    async def _refill(self) -> None:
        try:
            await self.fill()
        except ShellUnavailable as reason:
            log.warning("no sandbox could be started ahead", reason=reason.public_text)
