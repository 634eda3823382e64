"""The stand-in for an SMS provider: it refuses what the provider refuses, and signs as the provider signs."""

import asyncio
from collections.abc import Generator

import httpx2
import pytest

from operalta.assurance.carrier import Carrier, NoSms, Trouble, codes_of, fresh_number
from operalta.delivery.sms.twilio import Twilio
from operalta.guard.phone_numbers import phone_number

RECEIPTS = "https://localhost:8443/callbacks/sms/twilio"


@pytest.fixture
def carrier() -> Generator[Carrier]:
    made = Carrier()
    made.start()
    yield made
    made.stop()


def customer(carrier: Carrier, *, token: str = "", sender: str = "", account: str = "") -> Twilio:
    """The product's own wire, with the account that the stand-in gave out unless another part is named."""
    return Twilio(
        account or carrier.account,
        sender or carrier.sender,
        RECEIPTS,
        (token or carrier.token).encode(),
        api_url=carrier.url,
    )


def send(wire: Twilio, number: str, text: str) -> httpx2.Response:
    request = wire.request(number, text)
    return httpx2.post(request.url, headers=dict(request.headers), content=request.body, trust_env=False)


async def test_what_the_product_sends_is_taken_and_kept(carrier: Carrier) -> None:
    number, wire = fresh_number(), customer(carrier)
    answer = await asyncio.to_thread(send, wire, number, "123456 is your code.")
    sms = await carrier.wait_for(number)
    assert (answer.status_code, wire.reference(answer.content)) == (201, sms.sid)
    assert (sms.number, sms.code, sms.form["StatusCallback"]) == (number, "123456", RECEIPTS)
    assert codes_of(carrier.taken()) == ("123456",)
    assert carrier.to(fresh_number()) == ()


@pytest.mark.parametrize(
    ("wrong", "number", "text", "status", "code"),
    [
        ({"token": "another"}, "+41791234567", "1", 401, 20003),
        ({"account": "AC0"}, "+41791234567", "1", 401, 20003),
        ({"sender": "+41446681801"}, "+41791234567", "1", 400, 21603),
        ({}, "0791234567", "1", 400, 21211),
        ({}, "+41791234567", "", 400, 21602),
    ],
)
def test_what_the_provider_refuses_is_refused(
    carrier: Carrier, wrong: dict[str, str], number: str, text: str, status: int, code: int
) -> None:
    answer = send(customer(carrier, **wrong), number, text)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert carrier.taken() == ()


def test_trouble_is_for_one_number_and_passes(carrier: Carrier) -> None:
    troubled, other, wire = fresh_number(), fresh_number(), customer(carrier)
    for trouble, status in ((Trouble.BUSY, 503), (Trouble.REFUSED, 400)):
        carrier.give_trouble(troubled, trouble)
        assert send(wire, troubled, "1").status_code == status
    carrier.give_trouble(troubled, Trouble.AWAY)
    with pytest.raises(httpx2.RemoteProtocolError):
        send(wire, troubled, "1")
    assert send(wire, other, "1").status_code == 201
    assert carrier.turned_away(troubled) == 3
    carrier.give_trouble(troubled, None)
    assert send(wire, troubled, "1").status_code == 201


def test_receipts_are_signed_as_the_product_expects_it(carrier: Carrier) -> None:
    form = {"MessageSid": "SM1", "MessageStatus": "delivered", "AccountSid": carrier.account}
    assert carrier.signature(RECEIPTS, form) == customer(carrier).signature(RECEIPTS, list(form.items()))


async def test_what_does_not_come_is_told(carrier: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("operalta.assurance.carrier.PATIENCE_SECONDS", 0.05)
    with pytest.raises(NoSms):
        await carrier.wait_for(fresh_number())


def test_one_that_never_started_stops() -> None:
    Carrier().stop()


def test_fresh_numbers_are_numbers_of_the_country_that_is_served() -> None:
    assert {phone_number(fresh_number()).country for _ in range(200)} == {"CH"}
