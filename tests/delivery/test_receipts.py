"""What providers sign, and what is made of it."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from operalta.delivery.errors import ReceiptRefused
from operalta.delivery.sms.bird import Bird
from operalta.delivery.sms.twilio import Twilio
from operalta.delivery.sms.wire import Receipt, ReceiptOutcome
from operalta.kernel import clock

URL = "https://operalta.example:8443/callbacks/sms"
KEY = b"a signing key of more than thirty-two bytes"
TWILIO = Twilio("AC1", "+41446681800", f"{URL}/twilio", KEY)
BIRD = Bird("workspace", "channel", f"{URL}/bird", b"a token", KEY)
SENT = {"MessageSid": "SM1", "MessageStatus": "delivered", "AccountSid": "AC1", "ErrorMessage": "", "To": "+41 ä&="}


@pytest.mark.parametrize(
    ("caller", "signature"),
    [
        ("+14158675309", "RSOYDt4T1cUTdK1PDd93/VVr8B8="),
        ("+14158675310", "GvWf1cFY/Q7PnoempGyD5oXAezc="),
        ("+12349013030", "0/KCTR6DLpKmkAf8muzZqo1nDgQ="),
    ],
)
def test_twilio_s_own_examples_have_the_signature_that_it_publishes(caller: str, signature: str) -> None:
    form = {"CallSid": "CA1234567890ABCDE", "Digits": "1234", "From": caller, "To": "+18005551212", "Caller": caller}
    wire = Twilio("AC1", "", "", b"12345")
    assert wire.signature("https://mycompany.com/myapp.php?foo=1&bar=2", list(form.items())) == signature


def twilio_headers(url: str, form: Mapping[str, str], key: bytes = KEY) -> dict[str, str]:
    signed = url + "".join(name + form[name] for name in sorted(form))
    return {"x-twilio-signature": base64.b64encode(hmac.new(key, signed.encode(), "sha1").digest()).decode()}


def bird_headers(body: bytes, *, url: str = BIRD.receipts_url, key: bytes = KEY, age: int = 0) -> dict[str, str]:
    sent_at = str(int((clock.now() - timedelta(seconds=age)).timestamp()))
    signed = f"{sent_at}\n{url}\n".encode() + hashlib.sha256(body).digest()
    signature = base64.b64encode(hmac.new(key, signed, "sha256").digest()).decode()
    return {"messagebird-signature": signature, "messagebird-request-timestamp": sent_at}


@pytest.mark.parametrize(
    "url", ["https://operalta.example:8443/callbacks/sms/twilio", "https://operalta.example/callbacks/sms/twilio"]
)
def test_twilio_may_sign_the_address_with_or_without_its_port(url: str) -> None:
    assert TWILIO.receipt(twilio_headers(url, SENT), urlencode(SENT).encode()) == Receipt(
        "SM1", ReceiptOutcome.DELIVERED
    )


def test_a_twilio_receipt_that_was_not_signed_so_is_refused() -> None:
    body, url = urlencode(SENT).encode(), TWILIO.receipts_url
    right = twilio_headers(url, SENT)
    changed = urlencode(SENT | {"MessageStatus": "failed"}).encode()
    forged: list[tuple[dict[str, str], bytes]] = [
        ({}, body),
        ({"x-twilio-signature": ""}, body),
        ({"x-twilio-signature": "\xe9\ud800"}, body),
        (twilio_headers(url, SENT, key=b"another"), body),
        (twilio_headers("https://elsewhere.example/callbacks/sms/twilio", SENT), body),
        (right, changed),
        (right, body + b"&More=1"),
        (right, b""),
        (right, b"\xff\xfe"),
        (right, b"&".join([b"a=1"] * 200)),
    ]
    for headers, sent in forged:
        with pytest.raises(ReceiptRefused):
            TWILIO.receipt(headers, sent)


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("delivered", ReceiptOutcome.DELIVERED),
        ("read", ReceiptOutcome.DELIVERED),
        ("undelivered", ReceiptOutcome.UNDELIVERED),
        ("failed", ReceiptOutcome.UNDELIVERED),
        ("sent", None),
        ("queued", None),
        ("", None),
    ],
)
def test_what_twilio_tells_is_noted_where_it_is_final(status: str, outcome: ReceiptOutcome | None) -> None:
    form = SENT | {"MessageStatus": status}
    receipt = TWILIO.receipt(twilio_headers(TWILIO.receipts_url, form), urlencode(form).encode())
    assert receipt == (None if outcome is None else Receipt("SM1", outcome))


def event(status: object = "delivered", **changes: object) -> bytes:
    payload = {"id": "5f1c", "channelId": "channel", "status": status}
    return json.dumps({"service": "channels", "event": "sms.outbound", "payload": payload} | changes).encode()


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (event(), ReceiptOutcome.DELIVERED),
        (event("delivery_failed"), ReceiptOutcome.UNDELIVERED),
        (event("sending_failed"), ReceiptOutcome.UNDELIVERED),
        (event("sent"), None),
        (event({}), None),
        (event(event="sms.inbound"), None),
        (event(payload=[]), None),
        (event(payload={"id": "a b", "status": "delivered"}), None),
        (b"[]", None),
        (b"{", None),
        (b"[" * 100_000, None),
    ],
)
def test_what_bird_tells_is_noted_where_it_is_final(body: bytes, outcome: ReceiptOutcome | None) -> None:
    assert BIRD.receipt(bird_headers(body), body) == (None if outcome is None else Receipt("5f1c", outcome))


def test_a_bird_receipt_that_was_not_signed_so_is_refused() -> None:
    body = event()
    right = bird_headers(body)
    forged: list[tuple[dict[str, Any], bytes]] = [
        ({}, body),
        (right | {"messagebird-signature": ""}, body),
        (right | {"messagebird-request-timestamp": str(int(right["messagebird-request-timestamp"]) + 1)}, body),
        (bird_headers(body, key=b"another"), body),
        (bird_headers(body, url="https://elsewhere.example/callbacks/sms/bird"), body),
        (right, event("failed")),
        (right, b""),
    ]
    for headers, sent in forged:
        with pytest.raises(ReceiptRefused):
            BIRD.receipt(headers, sent)


@pytest.mark.parametrize(("age", "taken"), [(0, True), (290, True), (-290, True), (310, False), (-310, False)])
def test_a_bird_receipt_is_taken_for_five_minutes(age: int, taken: bool) -> None:  # noqa: FBT001 - a table's column
    body = event()
    headers = bird_headers(body, age=age)
    if taken:
        assert BIRD.receipt(headers, body) is not None
        return
    with pytest.raises(ReceiptRefused):
        BIRD.receipt(headers, body)


@pytest.mark.parametrize("timestamp", ["", "now", "-1", "1e9", "\uff19" * 10, "1" * 4_000])
def test_a_time_that_is_none_is_refused_however_well_it_is_signed(timestamp: str) -> None:
    body = event()
    headers = {
        "messagebird-request-timestamp": timestamp,
        "messagebird-signature": BIRD.signature(timestamp, BIRD.receipts_url, body),
    }
    with pytest.raises(ReceiptRefused):
        BIRD.receipt(headers, body)
