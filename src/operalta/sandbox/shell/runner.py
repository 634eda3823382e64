"""Running one command in a sandbox of its own."""

import asyncio

from operalta.sandbox.shell.member import Say, Tunnels
from operalta.sandbox.shell.pool import SandboxPool
from operalta.sandbox.shell.profile import Profile
from operalta.sandbox.shell.rules import Job, Report
from operalta.terms.registry import upholds


class CommandRunner:
    """Runs commands, each in a sandbox that nothing was run in before and nothing will be after."""

    def __init__(self, profile: Profile, *, ahead: int = 1, most: int = 4) -> None:
        """Keep `ahead` sandboxes waiting; run at most `most` commands at once, the others wait for a place."""
        self.limits = profile.limits
        self._pool = SandboxPool(profile, ahead=ahead, most=most)

    async def start(self) -> None:
        """Start the sandboxes that wait. Raise ShellUnavailable where that is not possible."""
        await self._pool.fill()

    async def close(self) -> None:
        """End the sandboxes that wait; those in use end with the tasks that use them."""
        await self._pool.close()

    @upholds("5.3.1", "5.3.2")
    async def run(self, job: Job, say: Say | None = None, tunnels: Tunnels | None = None) -> Report:
        """Run a command to its end, whatever that is; `say` gets its output as it comes.

        Raise ShellUnavailable where no sandbox starts. Cancelled, it ends every process of the command first.
        """
        async with self._pool.places:
            member = await self._pool.take()
            try:
                return await member.run(job, say, tunnels)
            finally:
                await asyncio.shield(member.end())
