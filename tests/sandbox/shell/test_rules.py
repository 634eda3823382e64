import pytest
from hypothesis import given
from hypothesis import strategies as st

from operalta.sandbox.shell.rules import CommandLimits, KeptOutput


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(2, 64))
def test_beginning_and_end_are_kept(pieces: list[bytes], limit: int) -> None:
    output = KeptOutput(limit)
    for piece in pieces:
        output.add(piece)
    whole, (kept, left_out) = b"".join(pieces), output.kept
    half = limit // 2
    assert len(kept) + left_out == len(whole) == output.total
    assert len(kept) <= limit
    if left_out:
        assert kept == whole[:half] + whole[-half:]
    else:
        assert kept == whole


@pytest.mark.parametrize("name", ["seconds", "memory_bytes", "processes", "output_bytes"])
def test_a_limit_is_above_zero(name: str) -> None:
    with pytest.raises(ValueError, match="above zero"):
        CommandLimits(**{name: 0})
