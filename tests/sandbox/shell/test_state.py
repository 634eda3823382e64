from pathlib import Path

import pytest

from operalta.sandbox.shell.self_test import Verdict
from operalta.sandbox.shell.state import ShellState, read_state, state_of, write_state


def test_a_verdict_is_told_on(tmp_path: Path) -> None:
    file = tmp_path / "run" / "shell.json"
    for state in (state_of(Verdict(90, ())), state_of(Verdict(90, ("read it",), "It did not hold."))):
        write_state(file, state)
        assert read_state(file) == state
    assert state_of(Verdict(90, ())).available


@pytest.mark.proves("5.3.3")
@pytest.mark.parametrize("verdict", [Verdict(0, ()), Verdict(9, ("x",)), Verdict(9, (), "no bubblewrap")])
def test_without_a_passed_test_there_is_no_shell(verdict: Verdict) -> None:
    assert not state_of(verdict).available


@pytest.mark.proves("5.3.3")
@pytest.mark.parametrize(
    "left", [None, "", "[]", "{}", '{"available": 1, "reason": "", "attempts": 9}', '{"available": true}', "\udcff"]
)
def test_without_a_readable_state_there_is_no_shell(tmp_path: Path, left: str | None) -> None:
    file = tmp_path / "shell.json"
    if left is not None:
        file.write_bytes(left.encode("utf-8", "surrogateescape"))
    found = read_state(file)
    assert found == ShellState(available=False, reason=found.reason)
    assert "has not tested" in found.reason
