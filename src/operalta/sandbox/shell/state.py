"""What the worker found out about the shell, for the processes that only show it: a small file below `var/run`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from operalta.sandbox.shell.self_test import Verdict

_NOT_TESTED = "Commands cannot be run: the worker has not tested their sandbox yet."
_DID_NOT_HOLD = "the sandbox did not hold when it was tested. The log of the worker tells more."
_LONGEST_REASON = 1_000


@dataclass(frozen=True, slots=True)
class ShellState:
    """Whether commands can be run, and if not, why: a sentence for people. `attempts`: how often it was tried."""

    available: bool
    reason: str
    attempts: int = 0


def state_of(verdict: Verdict) -> ShellState:
    """Return what a verdict of the self-test means for people."""
    if verdict.passed:
        return ShellState(available=True, reason="", attempts=verdict.attempts)
    # How to get out is for those who run the server, not for whoever reads a page.
    told = _DID_NOT_HOLD if verdict.escaped else verdict.reason
    return ShellState(available=False, reason=f"Commands cannot be run: {told}", attempts=verdict.attempts)


def write_state(file: Path, state: ShellState) -> None:
    """Leave the state for others to read, in one step."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = file.with_suffix(".new")
    partial.write_text(json.dumps(asdict(state)))
    partial.replace(file)


def read_state(file: Path) -> ShellState:
    """Return the state that the last worker left. Where there is none that can be read, there is no shell."""
    try:
        told: Any = json.loads(file.read_text())
        fields = cast("dict[str, Any]", told)
        available, reason, attempts = fields["available"], fields["reason"], fields["attempts"]
    except (OSError, ValueError, KeyError, TypeError):
        return ShellState(available=False, reason=_NOT_TESTED)
    if type(available) is not bool or type(attempts) is not int:
        return ShellState(available=False, reason=_NOT_TESTED)
    return ShellState(available, str(reason)[:_LONGEST_REASON], attempts)
