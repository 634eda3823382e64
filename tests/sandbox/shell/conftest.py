"""Real sandboxes. Where this machine has none to give, the tests say so and are not run."""

from collections.abc import AsyncIterator

import pytest

from operalta.sandbox.errors import ShellUnavailable
from operalta.sandbox.shell.member import Member
from operalta.sandbox.shell.profile import Profile
from operalta.sandbox.shell.rules import CommandLimits
from operalta.sandbox.shell.runner import CommandRunner

_found: list[str] = []


@pytest.fixture
async def profile() -> Profile:
    """The profile that agents' commands get."""
    usual = Profile(CommandLimits())
    if not _found:
        try:
            await (await Member.start(usual)).end()
            _found.append("")
        except ShellUnavailable as unavailable:
            _found.append(unavailable.public_text)
    if _found[0]:
        pytest.skip(_found[0])
    return usual


@pytest.fixture
async def runner(profile: Profile) -> AsyncIterator[CommandRunner]:
    made = CommandRunner(profile)
    yield made
    await made.close()
