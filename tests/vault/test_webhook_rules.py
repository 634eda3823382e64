"""Signatures and schedules of webhooks, by the published examples of those who made the schemes."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from operalta.kernel.errors import InvalidInput
from operalta.vault.webhooks.inbound.rules import challenge_in, content_of, is_token, new_token, secret_of
from operalta.vault.webhooks.rules import (
    JITTER,
    LONGEST_OVERLAP_HOURS,
    LONGEST_WAIT_SECONDS,
    PAUSES_SECONDS,
    EventKind,
    body_of,
    checked_events,
    checked_overlap,
    new_secret,
    verdict_of_answer,
    verdict_of_failure,
    wait_of,
)
from operalta.vault.webhooks.signatures import TOLERANCE_SECONDS, Scheme, key_of, sign, signed_headers, verify

# The vector of the reference libraries of Standard Webhooks.
SECRET = b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
STANDARD = {"webhook-id": MESSAGE, "webhook-timestamp": str(AT), "webhook-signature": SIGNATURE}
# The example of GitHub's documentation.
GITHUB = (
    b"It's a Secret to Everybody",
    b"Hello, World!",
    "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
)
# The example of Slack's documentation.
SLACK_BODY = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="
    b"foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
    b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015."
    b"47445629121.803a0bc887a14d10d2c447fce8b6703c"
)
SLACK = (
    b"8f742231b10e8888abcd99yyyzzz85a5",
    1_531_420_618,
    SLACK_BODY,
    "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
)


def test_we_sign_as_the_reference_does() -> None:
    assert sign(SECRET, MESSAGE, AT, BODY) == SIGNATURE
    assert signed_headers([SECRET], MESSAGE, AT, BODY) == STANDARD
    assert len(key_of(new_secret().encode())) == 32


@pytest.mark.proves("7.2.2")
def test_the_published_examples_are_accepted() -> None:
    assert verify(Scheme.STANDARD, [SECRET], STANDARD, BODY, AT)
    key, body, digest = GITHUB
    assert verify(Scheme.GITHUB, [key], {"x-hub-signature-256": f"sha256={digest}"}, body, 0)
    key, at, body, given = SLACK
    headers = {"x-slack-request-timestamp": str(at), "x-slack-signature": given}
    assert verify(Scheme.SLACK, [key], headers, body, at)
    stripe = hmac.new(b"whsec_test", b"12345.{}", hashlib.sha256).hexdigest()
    headers = {"stripe-signature": f"t=12345,v1={'0' * 64},v1={stripe},v0=old"}
    assert verify(Scheme.STRIPE, [b"whsec_test"], headers, b"{}", 12345)


@pytest.mark.proves("7.2.2")
@pytest.mark.parametrize(
    ("changes", "body", "later"),
    [
        ({"webhook-id": "msg_other"}, BODY, 0),
        ({"webhook-id": ""}, BODY, 0),
        ({"webhook-timestamp": str(AT + 1)}, BODY, 0),
        ({"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"}, BODY, 0),
        ({"webhook-timestamp": f"{AT}.0"}, BODY, 0),
        ({"webhook-signature": ""}, BODY, 0),
        ({"webhook-signature": SIGNATURE.removeprefix("v1,")}, BODY, 0),
        ({"webhook-signature": "v1,"}, BODY, 0),
        ({"webhook-signature": SIGNATURE.replace("v1,", "v1a,")}, BODY, 0),
        ({"webhook-signature": "v1,AAAA " * 10 + SIGNATURE}, BODY, 0),
        ({}, BODY + b" ", 0),
        ({}, BODY, TOLERANCE_SECONDS + 1),
        ({}, BODY, -TOLERANCE_SECONDS - 1),
    ],
)
def test_what_is_not_signed_in_time_is_refused(changes: dict[str, str], body: bytes, later: int) -> None:
    assert verify(Scheme.STANDARD, [SECRET], STANDARD | changes, body, AT + later) is None


def signed(scheme: Scheme, key: bytes, at: str, body: bytes) -> dict[str, str]:
    """Return the header fields of a message of a scheme that signs a time as it is written."""
    if scheme is Scheme.STRIPE:
        mac = hmac.new(key, at.encode() + b"." + body, hashlib.sha256).hexdigest()
        return {"stripe-signature": f"t={at},v1={mac}"}
    if scheme is Scheme.SLACK:
        mac = hmac.new(key, b"v0:" + at.encode() + b":" + body, hashlib.sha256).hexdigest()
        return {"x-slack-request-timestamp": at, "x-slack-signature": f"v0={mac}"}
    mac = base64.b64encode(hmac.new(key_of(key), f"{MESSAGE}.{at}.".encode() + body, hashlib.sha256).digest())
    return {"webhook-id": MESSAGE, "webhook-timestamp": at, "webhook-signature": f"v1,{mac.decode()}"}


@pytest.mark.proves("7.2.2")
@pytest.mark.parametrize("scheme", [Scheme.STANDARD, Scheme.STRIPE, Scheme.SLACK])
def test_a_time_counts_within_five_minutes_and_as_plain_digits(scheme: Scheme) -> None:
    now = 1_000
    for at in (now, now - TOLERANCE_SECONDS, now + TOLERANCE_SECONDS):
        assert verify(scheme, [SECRET], signed(scheme, SECRET, str(at), BODY), BODY, now), at
    for text in (
        str(now - TOLERANCE_SECONDS - 1),
        str(now + TOLERANCE_SECONDS + 1),
        "\u0661\u0660\u0660\u0660",
        "1000.0",
        "+1000",
        "",
        "1" * 13,
    ):
        assert verify(scheme, [SECRET], signed(scheme, SECRET, text, BODY), BODY, now) is None, text


def test_stripe_says_one_time_alone() -> None:
    header = signed(Scheme.STRIPE, SECRET, "1000", BODY)["stripe-signature"]
    for wrong in (f"t=999,{header}", f"{header},t=999", header.replace("v1=", "v0="), header.replace("t=1000,", "")):
        assert verify(Scheme.STRIPE, [SECRET], {"stripe-signature": wrong}, BODY, 1_000) is None


def test_an_id_is_a_word_and_alone_says_whether_a_message_came_before() -> None:
    found = {
        name: verify(Scheme.STANDARD, [SECRET], signed_headers([SECRET], name, AT, body), body, AT)
        for name, body in (("msg_1", BODY), ("msg_2", BODY), ("", BODY), ("a b", BODY), ("é", BODY), ("x" * 257, BODY))
    }
    assert found["msg_1"] != found["msg_2"]
    assert [name for name, each in found.items() if each is not None] == ["msg_1", "msg_2"]
    again = verify(Scheme.STANDARD, [SECRET], signed_headers([SECRET], "msg_1", AT + 9, b"{}"), b"{}", AT)
    assert again == found["msg_1"]


@pytest.mark.proves("7.2.2")
def test_what_is_told_are_ids_and_a_time() -> None:
    company, subject = UUID(int=1), UUID(int=2)
    body = body_of("file.written", company, "file", subject, datetime(2026, 1, 31, 10, 30, tzinfo=UTC))
    assert json.loads(body) == {
        "type": "file.written",
        "timestamp": "2026-01-31T10:30:00Z",
        "data": {"company": str(company), "kind": "file", "id": str(subject)},
    }


def test_an_overlap_has_its_end_and_an_address_its_form() -> None:
    assert [checked_overlap(hours) for hours in (0, LONGEST_OVERLAP_HOURS)] == [0, LONGEST_OVERLAP_HOURS]
    for hours in (-1, LONGEST_OVERLAP_HOURS + 1):
        with pytest.raises(InvalidInput):
            checked_overlap(hours)
    assert is_token(new_token())
    assert not any(map(is_token, ("", "x" * 42, "x" * 44, "x" * 42 + "\n", "x" * 42 + "/")))


def test_slack_alone_gets_its_own_word_back() -> None:
    asked = {"type": "url_verification", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY"}
    assert challenge_in(Scheme.SLACK, asked) == asked["challenge"]
    assert challenge_in(Scheme.GITHUB, asked) is None
    for wrong in ("<script>", "abc<script>", "x" * 201, "", 7, None):
        assert challenge_in(Scheme.SLACK, {**asked, "challenge": wrong}) is None
    assert challenge_in(Scheme.SLACK, {**asked, "type": "event_callback"}) is None
    assert challenge_in(Scheme.SLACK, [asked]) is None


@pytest.mark.parametrize("scheme", Scheme)
def test_without_a_secret_or_a_signature_nothing_is_believed(scheme: Scheme) -> None:
    assert verify(scheme, [], STANDARD, BODY, AT) is None
    assert verify(scheme, [b""], STANDARD, BODY, AT) is None
    assert verify(scheme, [SECRET], {}, BODY, AT) is None
    empty = hmac.new(b"", BODY, hashlib.sha256).hexdigest()
    assert verify(Scheme.GITHUB, [b""], {"x-hub-signature-256": f"sha256={empty}"}, BODY, AT) is None


def test_a_secret_that_holds_no_key_signs_nothing() -> None:
    empty = hmac.new(b"", f"{MESSAGE}.{AT}.".encode() + BODY, hashlib.sha256).digest()
    forged = STANDARD | {"webhook-signature": "v1," + base64.b64encode(empty).decode()}
    assert verify(Scheme.STANDARD, [b"whsec_", b"whsec_%%%"], forged, BODY, AT) is None


def test_the_same_body_signed_at_another_time_is_the_same_message() -> None:
    found: set[object] = set()
    for at in (100, 200):
        given = hmac.new(b"whsec_test", f"{at}.{{}}".encode(), hashlib.sha256).hexdigest()
        found.add(verify(Scheme.STRIPE, [b"whsec_test"], {"stripe-signature": f"t={at},v1={given}"}, b"{}", at))
    assert len(found) == 1
    assert None not in found


def test_either_of_two_secrets_is_enough_while_one_takes_over() -> None:
    other = new_secret().encode()
    assert verify(Scheme.STANDARD, [other, SECRET], STANDARD, BODY, AT)
    both = signed_headers([other, SECRET], MESSAGE, AT, BODY)
    assert verify(Scheme.STANDARD, [SECRET], both, BODY, AT)
    assert verify(Scheme.STANDARD, [other], both, BODY, AT)


def test_an_id_counts_where_it_is_signed_and_the_body_elsewhere() -> None:
    first, again = (verify(Scheme.STANDARD, [SECRET], STANDARD, BODY, AT + late) for late in (0, 9))
    assert first == again is not None
    key, body, digest = GITHUB
    signed = {"x-hub-signature-256": f"sha256={digest}"}
    copies = {verify(Scheme.GITHUB, [key], signed | {"x-github-delivery": name}, body, 0) for name in ("a", "b")}
    assert len(copies) == 1


def test_pauses_grow_for_more_than_a_day_and_then_it_is_given_up() -> None:
    assert 27 * 3600 < sum(PAUSES_SECONDS) < 28 * 3600
    for attempt, pause in enumerate(PAUSES_SECONDS, 1):
        least, most = (verdict_of_failure("It failed.", attempt, chance).pause_seconds for chance in (0, 1))
        assert (least, most) == (pause, pause * (1 + JITTER))
    assert verdict_of_failure("It failed.", len(PAUSES_SECONDS) + 1, 0).ended == "dead"


def test_a_receiver_may_ask_for_patience_within_bounds() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert verdict_of_answer(429, "90", 1, 0, now).pause_seconds == 90
    assert verdict_of_answer(503, "1", 2, 0, now).pause_seconds == PAUSES_SECONDS[1]
    assert verdict_of_answer(503, "9" * 40, 1, 0, now).pause_seconds == LONGEST_WAIT_SECONDS
    assert wait_of("Thu, 01 Jan 2026 00:01:00 GMT", now) == 60
    far = "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"
    assert [wait_of(text, now) for text in ("", "soon", "-5", "1e9", "Thu, 99 Jan", "٣", far)] == [0] * 7


@pytest.mark.parametrize(
    ("status", "ended"), [(200, "delivered"), (299, "delivered"), (301, "later"), (404, "later"), (410, "gone")]
)
def test_what_answers_come_to(status: int, ended: str) -> None:
    assert verdict_of_answer(status, "", 1, 0, datetime.now(UTC)).ended == ended


def test_kinds_come_from_the_list() -> None:
    assert checked_events(["member.left", "file.written"]) == (EventKind.FILE_WRITTEN, EventKind.MEMBER_LEFT)
    for wrong in ([], ["secret.opened"]):
        with pytest.raises(InvalidInput):
            checked_events(wrong)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/plain", b"{}"),
        ("", b"{}"),
        ("application/x-www-form-urlencoded", b"a=1"),
        ("application/json", b""),
        ("application/json", b"\xff"),
        ("application/json", b"NaN"),
        ("application/json", b'"\\u0000"'),
        ("application/json", b'"\\ud800"'),
        ("application/json", b"[" * 200_000),
    ],
)
def test_what_is_not_json_that_can_be_kept_is_refused(kind: str, body: bytes) -> None:
    with pytest.raises(InvalidInput):
        content_of(kind, body)


def test_json_is_taken_as_it_is() -> None:
    assert content_of("application/cloudevents+json; charset=utf-8", b'{"a": "\\\\u0000"}') == {"a": "\\u0000"}
    assert content_of("application/json", b"[1.5, 5e-324, 1.7E+308]") == [1.5, 5e-324, 1.7e308]
    assert content_of("application/json", b"[" * 100 + b"]" * 100)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 101 + b"]" * 101,
        b'{"a":' * 300 + b"1" + b"}" * 300,
        b'{"a": 1e5000}',
        b'{"a": 1e-16000}',
        b"[" + b",".join([b"1e308"] * 4_000) + b"]",
    ],
)
def test_json_that_would_be_far_larger_or_deeper_when_it_is_read_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        content_of("application/json", body)


def test_secrets_are_ours_where_the_sender_makes_none() -> None:
    assert secret_of(Scheme.STRIPE, " ") == (None, False)
    made, is_ours = secret_of(Scheme.GITHUB, "")
    assert is_ours
    assert made
    assert made.startswith("whsec_")
    for wrong in ("short", "with blank in the middle", "ü" * 20, "x" * 201):
        with pytest.raises(InvalidInput):
            secret_of(Scheme.GITHUB, wrong)
    with pytest.raises(InvalidInput):
        secret_of(Scheme.STANDARD, "whsec_%%%%%%%%%%%%%%%%%%%%")
