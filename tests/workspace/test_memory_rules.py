import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.kernel.errors import InvalidInput
from operalta.workspace.errors import AlreadySuperseded, StatusNotReachable
from operalta.workspace.memory.rules import (
    LIFECYCLES,
    RecordKind,
    Status,
    check_move,
    first_status,
    kind_called,
    next_statuses,
)


@pytest.mark.parametrize("kind", RecordKind)
def test_every_status_of_a_kind_can_be_reached_and_is_in_the_table(kind: RecordKind) -> None:
    life = LIFECYCLES[kind]
    reached = set(life.initial)
    while (further := reached | {after for status in reached for after in life.moves[status]}) != reached:
        reached = further
    assert reached == set(life.moves)


@pytest.mark.parametrize("kind", RecordKind)
def test_superseded_is_no_move_and_no_beginning_and_leads_nowhere(kind: RecordKind) -> None:
    life = LIFECYCLES[kind]
    assert Status.SUPERSEDED not in life.initial
    for status in life.moves:
        with pytest.raises(StatusNotReachable):
            check_move(kind, status, "superseded")
    for wanted in Status:
        with pytest.raises(AlreadySuperseded):
            check_move(kind, Status.SUPERSEDED, wanted)


@given(st.sampled_from(RecordKind), st.sampled_from(Status), st.sampled_from(Status) | st.text(max_size=10))
def test_a_move_passes_exactly_where_the_table_says_so(kind: RecordKind, before: Status, wanted: str) -> None:
    if wanted in LIFECYCLES[kind].moves.get(before, frozenset()):
        assert check_move(kind, before, wanted) == wanted
    else:
        with pytest.raises((StatusNotReachable, AlreadySuperseded)):
            check_move(kind, before, wanted)


def test_the_refusal_says_what_is_possible() -> None:
    with pytest.raises(StatusNotReachable, match="decided or withdrawn, or be superseded"):
        check_move(RecordKind.DECISION, Status.PROPOSED, "open")
    with pytest.raises(StatusNotReachable, match="can only be superseded"):
        check_move(RecordKind.DECISION, Status.WITHDRAWN, "decided")
    assert next_statuses(RecordKind.EXPERIMENT, Status.RUNNING) == (Status.CONCLUDED, Status.STOPPED)


def test_entries_begin_as_their_kind_allows() -> None:
    assert first_status(RecordKind.DECISION, None) is Status.PROPOSED
    assert first_status(RecordKind.DECISION, "decided") is Status.DECIDED
    for kind, wanted in ((RecordKind.DECISION, "open"), (RecordKind.BLOCKER, "superseded"), (RecordKind.BLOCKER, "")):
        with pytest.raises(InvalidInput):
            first_status(kind, wanted)
    with pytest.raises(InvalidInput):
        kind_called("rumour")
