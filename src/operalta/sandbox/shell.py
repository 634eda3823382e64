"""The shell for agents: declared, and absent. It is not in this release, and nothing stands in for it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ShellState:
    """Whether commands can be run, and if not, why: a sentence for people."""

    available: bool
    reason: str


def shell_state() -> ShellState:
    """Tell whether agents can run commands here. A command is never run without a proven sandbox."""
    return ShellState(
        available=False,
        reason="Commands cannot be run: their sandbox has not been built into this release.",
    )
