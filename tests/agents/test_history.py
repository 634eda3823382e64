"""A run's memory is what its events tell, in order; the last decision about a call counts."""

from operalta.agents.history import RunMemory
from operalta.agents.rules import EventKind
from operalta.agents.steps import answer_in, load_history

CALL = {"call_id": "a", "tool": "files_write", "decision": "allow", "reasons": ["own_space"], "call_key": "k"}


def test_a_call_that_is_judged_again_counts_as_judged_last() -> None:
    memory = RunMemory()
    memory.take(EventKind.TOOL_DECIDED, CALL, 1)
    assert (memory.decided, memory.passed, memory.own_space) == ({"a": "allow"}, {"a": "k"}, {"a"})
    memory.take(EventKind.TOOL_DECIDED, {"call_id": "a", "decision": "ask", "reasons": ["own_space_used_up"]}, 2)
    assert (memory.decided, memory.passed, memory.own_space) == ({"a": "ask"}, {}, set())
    assert memory.sequence == 2


def test_a_question_is_open_until_it_is_answered() -> None:
    memory = RunMemory()
    memory.take(EventKind.APPROVAL_ASKED, {"call_id": "a", "approval_id": "1"}, 1)
    assert memory.open_questions == {"a"}
    memory.take(EventKind.APPROVAL_DECIDED, {"call_id": "a", "approval_id": "1", "decision": "once"}, 2)
    assert memory.open_questions == set()


def test_a_turn_without_calls_is_the_answer() -> None:
    said = '[{"kind": "response", "parts": [{"part_kind": "text", "content": "Yes."}]}]'
    asked = '[{"kind": "response", "parts": [{"part_kind": "tool-call", "tool_name": "x", "args": {}}]}]'
    assert answer_in(load_history(said)) == "Yes."
    assert answer_in(load_history(asked)) is None
    assert answer_in(RunMemory().history("Hello", "", [])) is None
