"""What an agent is, what bounds its fields, and the limits that it may set for its own runs. Pure."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from operalta.agents.rules import RunLimits
from operalta.kernel.errors import InvalidInput
from operalta.kernel.ids import AgentId
from operalta.kernel.texts import checked_line, checked_text
from operalta.sandbox.errors import InvalidPath
from operalta.sandbox.rules import parse_path

LONGEST_NAME, LONGEST_PURPOSE, LONGEST_INSTRUCTIONS = 120, 400, 8_000
MOST_FOLDERS, LONGEST_FOLDER = 20, 400
MOST_AGENTS = 100
"""In a company, the retired ones among them."""
DECISIONS = ("allow", "ask", "deny")
LIMITS: Mapping[str, tuple[str, int]] = MappingProxyType(
    {
        "steps": ("Steps", RunLimits().steps),
        "tool_calls": ("Tool calls", RunLimits().tool_calls),
        "tokens": ("Tokens", RunLimits().tokens),
        "cost_micros": ("Cost in millionths", RunLimits().cost_micros),
        "active_seconds": ("Seconds at work", int(RunLimits().active_seconds)),
    }
)
"""Each limit of a run: its name for people, and the most that an agent may allow itself."""

Limits: TypeAlias = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Definition:
    """All that people decide about an agent but its model route.

    `tools` maps a tool's name to allow, ask or deny; what is not named is denied. `directories` are the folders whose
    files it reaches; all of the company's where there are none. `limits` narrows those of every run.
    """

    name: str
    purpose: str
    instructions: str
    tools: Mapping[str, str]
    directories: tuple[str, ...]
    limits: Limits

    def checked(self) -> "Definition":
        """Return it tidied. Raise InvalidInput, naming the field, where it cannot be one."""
        if any(outcome not in DECISIONS for outcome in self.tools.values()):
            raise InvalidInput("Each tool is allowed, asked about or denied.", field="tools")
        return Definition(
            checked_line(self.name, "name", LONGEST_NAME, 1),
            checked_line(self.purpose, "purpose", LONGEST_PURPOSE, 1),
            checked_text(self.instructions.replace("\x00", ""), "instructions", LONGEST_INSTRUCTIONS),
            dict(self.tools),
            _folders(self.directories),
            checked_limits(self.limits, LIMITS),
        )

    def widens(self, other: "Definition | None") -> bool:
        """Tell whether it decides otherwise than `other` about tools or folders, for which people prove themselves."""
        if other is None:
            return any(outcome != "deny" for outcome in self.tools.values())
        return (dict(self.tools), self.directories) != (dict(other.tools), other.directories)


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent of the company, as it is now. `retired_at`: since when it takes no more work."""

    id: AgentId
    slug: str
    name: str
    purpose: str
    instructions: str
    route: str
    tools: dict[str, str]
    directories: tuple[str, ...]
    limits: Limits
    version: int
    retired_at: datetime | None

    @property
    def definition(self) -> Definition:
        """What people decide about it."""
        return Definition(self.name, self.purpose, self.instructions, self.tools, self.directories, self.limits)


@dataclass(frozen=True, slots=True)
class AgentUse:
    """How many runs an agent has had, counted up to 20, and when the last one was made; None before there is one."""

    runs: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class AgentVersion:
    """An agent as it was from `changed_at` on. `changed_by_name` is None where it came with the company."""

    version: int
    name: str
    purpose: str
    instructions: str
    route: str
    tools: dict[str, str]
    directories: tuple[str, ...]
    limits: Limits
    changed_at: datetime
    changed_by_name: str | None

    @property
    def definition(self) -> Definition:
        """What had been decided about the agent."""
        return Definition(self.name, self.purpose, self.instructions, self.tools, self.directories, self.limits)

    @property
    def as_text(self) -> str:
        """The version as lines that can be compared with another's."""
        lines = [f"Name: {self.name}", f"Purpose: {self.purpose}", f"Model route: {self.route}"]
        lines += [f"Tool {name}: {outcome}" for name, outcome in sorted(self.tools.items()) if outcome != "deny"]
        lines += [f"Folder: {folder}" for folder in self.directories]
        lines += [f"{LIMITS[name][0]}: {most}" for name, most in sorted(self.limits.items()) if name in LIMITS]
        return "\n".join([*lines, "Instructions:", self.instructions])


def slug_of(name: str, taken: frozenset[str]) -> str:
    """Return a short name for addresses, made from `name`, that is not among `taken`."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-") or "agent"
    return next(each for each in (plain, *(f"{plain}-{number}" for number in range(2, 1_000))) if each not in taken)


def run_limits(limits: Limits, deployment: RunLimits) -> RunLimits:
    """Return the limits of a run of an agent: its own where they are narrower than the deployment's."""
    named = {name: most for name, most in limits.items() if name in LIMITS}
    return deployment.narrowed(RunLimits(**(asdict(deployment) | named)))


def checked_limits(limits: Limits, known: Mapping[str, tuple[str, int]]) -> Limits:
    """Return limits that are all among those `known`, by title and largest. Raise InvalidInput, naming the field."""
    for name, most in limits.items():
        if name not in known:
            raise InvalidInput(f"There is no limit called {name[:40]}. See the list of limits.", field="limits")
        title, largest = known[name]
        # A route may be free, so no cost at all is a limit that still lets a run go on.
        least = 0 if name == "cost_micros" else 1
        if not least <= most <= largest:
            raise InvalidInput(f"{title}: a number from {least} to {largest:,}.", field=f"limits.{name}")
    return dict(limits)


def _folders(directories: tuple[str, ...]) -> tuple[str, ...]:
    if len(directories) > MOST_FOLDERS or any(len(each) > LONGEST_FOLDER for each in directories):
        raise InvalidInput(f"At most {MOST_FOLDERS} folders of {LONGEST_FOLDER} characters.", field="directories")
    try:
        return tuple(dict.fromkeys(str(parse_path(each.strip().removesuffix("/"))) for each in directories))
    except InvalidPath:
        raise InvalidInput("Name folders as `reports` or `reports/2026`.", field="directories") from None
