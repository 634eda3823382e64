from datetime import UTC, datetime

import pytest

from operalta.identity.errors import SendingPaused
from operalta.kernel import clock
from operalta.web.pages.sent_code import SentCode, sent_code

NOON = 1_760_000_000


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "unix_seconds", lambda: NOON)


@pytest.mark.parametrize(
    ("sent_ago", "seconds_left", "wait_seconds"), [(0, 600, 30), (29, 571, 1), (30, 570, 0), (600, 0, 0), (9_000, 0, 0)]
)
def test_a_code_runs_out_after_ten_minutes_and_another_is_offered_after_half_a_minute(
    sent_ago: int, seconds_left: int, wait_seconds: int
) -> None:
    shown = sent_code(NOON - sent_ago)
    until = datetime.fromtimestamp(NOON - sent_ago + 600, UTC)
    assert shown == SentCode(NOON - sent_ago, until, seconds_left, wait_seconds)


def test_a_time_that_is_none_or_lies_ahead_says_that_nothing_was_sent() -> None:
    assert sent_code(0).at == sent_code(NOON + 1).at == 0
    assert sent_code(NOON + 1).wait_seconds == 0


def test_a_refusal_says_how_long_to_wait() -> None:
    assert sent_code(NOON, SendingPaused(retry_after=240)).wait_seconds == 240
