"""The limits of a company's day: which there are, how far they go, and which one is reached. Pure.

A day is one of UTC. Each limit is called as in RunLimits, and counts what all runs of the company use together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from operalta.agents.definitions.rules import Limits, checked_limits
from operalta.agents.rules import LimitReached, RunLimits, RunUsage, check

DAY_LIMITS: Mapping[str, tuple[str, int, int]] = MappingProxyType(
    {
        "steps": ("Steps", 10_000, 1_000_000),
        "tool_calls": ("Tool calls", 20_000, 2_000_000),
        "tokens": ("Tokens", 50_000_000, 10_000_000_000),
        "cost_micros": ("Cost in millionths", 100_000_000, 100_000_000_000),
        "active_seconds": ("Seconds at work", 86_400, 10_000_000),
    }
)
"""Each limit of a day: its name for people, what holds where a company says nothing, and the most that it may say."""


class DayLimitReached(LimitReached):
    """The limit of the company's day that stops a run. Its name is that of the run's limit after `day_`."""

    @property
    def public_text(self) -> str:
        """What the person reads."""
        words = DAY_LIMITS[self.name.removeprefix("day_")][0].lower()
        return (
            f"The company's agents have reached their limit for today: {words}. Go on after midnight UTC, or ask "
            "somebody who looks after the agents to allow more."
        )


@dataclass(frozen=True, slots=True)
class Day:
    """What the company allows its agents in a day, where it says so, and what they have used since midnight UTC.

    `changed_by_name` is None where nobody has changed anything, or whoever did is gone.
    """

    limits: Limits
    used: RunUsage
    changed_by_name: str | None
    changed_at: datetime | None

    @property
    def held(self) -> RunLimits:
        """What holds: what the company says, and what is usual for the rest."""
        usual = {name: most for name, (_, most, _) in DAY_LIMITS.items()}
        return RunLimits(**(usual | {name: most for name, most in self.limits.items() if name in DAY_LIMITS}))

    @property
    def reached(self) -> DayLimitReached | None:
        """The first limit that leaves no room for one more step today."""
        found = check(self.used, self.held)
        return found and DayLimitReached(f"day_{found.name}", found.limit, found.used)


def checked_day(limits: Limits) -> Limits:
    """Return limits of a day that a company may have. Raise InvalidInput, naming the field."""
    return checked_limits(limits, {name: (title, largest) for name, (title, _, largest) in DAY_LIMITS.items()})
