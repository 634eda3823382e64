"""Codes by SMS with a real database and providers that speak their wire formats over real HTTP."""

import base64
import logging
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace

import pytest

from operalta.delivery.errors import DeliveryDelayed
from operalta.delivery.rules import MOST_ATTEMPTS
from operalta.delivery.sender import Sender
from operalta.delivery.sms import channel
from operalta.delivery.sms.channel import SmsChannel, wire_of
from operalta.guard.codes import code_digest
from tests.conftest import Pools, Servers
from tests.delivery.code_search import IDS, places_with
from tests.delivery.phone_owner import NUMBER, PhoneOwner, message_row, phone_owner, sms_settings
from tests.delivery.sms_server import (
    ACCOUNT,
    CHANNEL,
    SENDER,
    SIGNING_KEY,
    TOKEN,
    WORKSPACE,
    Asked,
    Bird,
    Provider,
    Twilio,
    running,
)

PROVIDERS: tuple[Callable[[], Provider], ...] = (Twilio, Bird)


@pytest.fixture(params=PROVIDERS, ids=["twilio", "bird"])
async def provider(request: pytest.FixtureRequest) -> AsyncGenerator[Provider]:
    async with running(request.param()) as started:
        yield started


@pytest.fixture
def ada(servers: Servers) -> PhoneOwner:
    return phone_owner(servers)


def through(servers: Servers, pools: Pools, provider: Provider, **changes: object) -> Sender:
    # Copied, since a local deployment has no public address; what is sent would be the same in production.
    return Sender(pools.job, sms_settings(servers, provider).model_copy(update=changes))


# ── What goes out, and what is kept ──────────────────────────────────────────────────────────────────────


def assert_twilio_form(asked: Asked) -> None:
    credentials = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    assert (asked.method, asked.path) == ("POST", f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json")
    assert asked.headers["authorization"] == f"Basic {credentials}"
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert {name: asked.form[name] for name in ("To", "From")} == {"To": NUMBER, "From": SENDER}
    assert asked.form["StatusCallback"] == "https://operalta.example/callbacks/sms/twilio"
    assert asked.form.keys() == {"To", "From", "Body", "StatusCallback"}


def assert_bird_json(asked: Asked) -> None:
    assert (asked.method, asked.path) == ("POST", f"/workspaces/{WORKSPACE}/channels/{CHANNEL}/messages")
    assert asked.headers["authorization"] == f"AccessKey {TOKEN}"
    assert asked.headers["content-type"] == "application/json"
    assert asked.json.keys() == {"receiver", "body"}
    assert asked.json["receiver"] == {"contacts": [{"identifierKey": "phonenumber", "identifierValue": NUMBER}]}
    assert asked.json["body"] == {"type": "text", "text": {"text": asked.json["body"]["text"]["text"]}}


@pytest.mark.proves("2.2.1", "2.2.5", "3.2.2")
async def test_a_code_leaves_in_the_provider_s_format_and_nothing_else_holds_it(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    message = await ada.ask(pools)
    with caplog.at_level(logging.DEBUG):
        sender = through(servers, pools, provider, public_url="https://operalta.example")
        await sender.deliver(message)
        await sender.deliver(message)
    (asked,), (code,) = provider.asked, provider.codes
    (assert_twilio_form if provider.name == "twilio" else assert_bird_json)(asked)
    assert provider.text(asked).splitlines()[-1] == f"@operalta.example #{code}"
    kept = message_row(servers, message)
    assert (kept["status"], kept["attempts"]) == ("sent", 1)
    assert kept["provider_reference"]
    digest = code_digest(servers.settings.secret("code-key"), ada.code["id"], code)
    assert bytes(ada.code["digest"]) == digest
    assert places_with(servers, code) == []
    assert f"send sms: 127.0.0.1:{provider.port} at 127.0.0.1 answered 20" in caplog.text
    said = IDS.sub("", caplog.text)
    assert re.search(rf"(?<!\d){code}(?!\d)", said) is None
    assert TOKEN not in caplog.text
    assert NUMBER not in caplog.text
    assert await ada.tries(pools, code)


async def test_a_messaging_service_is_named_as_such_and_a_local_deployment_asks_for_no_receipts(
    servers: Servers, pools: Pools, ada: PhoneOwner
) -> None:
    async with running(Twilio()) as provider:
        await through(servers, pools, provider, sms_sender="MG0123456789").deliver(await ada.ask(pools))
    form = provider.asked[0].form
    assert form.keys() == {"To", "MessagingServiceSid", "Body"}
    assert form["MessagingServiceSid"] == "MG0123456789"
    assert form["Body"].count("\n") == 0


def test_secrets_are_in_no_repr(servers: Servers) -> None:
    for provider in (Twilio(port=1), Bird(port=1)):
        wire = wire_of(sms_settings(servers, provider))
        assert wire is not None
        request = wire.request(NUMBER, "the text of a message")
        shown = repr(wire) + repr(request)
        for secret in (TOKEN, SIGNING_KEY, "the text", base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()):
            assert secret not in shown


# ── What a provider may answer ───────────────────────────────────────────────────────────────────────────


@pytest.mark.proves("2.2.1")
@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_what_the_provider_refuses_for_good_has_failed_at_once_and_says_why(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    message = await ada.ask(pools)
    provider.status, provider.body = status, b'{"code": 21211, "message": "+41791234567 is not a number"}'
    await through(servers, pools, provider).deliver(message)
    assert message_row(servers, message)["status"] == "failed"
    assert f"status {status}, its code 21211" in caplog.text
    assert ("OPERALTA_SMS_ACCOUNT" in caplog.text) == (status in {401, 403, 404})
    assert NUMBER not in caplog.text


@pytest.mark.proves("2.2.1")
@pytest.mark.parametrize("status", [302, 307, 408, 425, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("body", [b"", b'{"code": "a\\nb", "message": 1', b"[" * 5000, b"\xff\x00<html>"])
async def test_what_may_pass_is_tried_again_whatever_else_is_in_the_answer(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider, status: int, body: bytes
) -> None:
    message = await ada.ask(pools)
    provider.status, provider.body = status, body
    with pytest.raises(DeliveryDelayed, match=rf"status {status}, its code none"):
        await through(servers, pools, provider).deliver(message)
    assert message_row(servers, message)["status"] == "queued"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"sid": 7, "id": {}}', b'{"sid": "a b", "id": ""}', b"<html>"])
async def test_a_message_that_was_taken_is_not_sent_again_for_an_answer_that_cannot_be_read(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider, body: bytes
) -> None:
    message = await ada.ask(pools)
    provider.body = body
    await through(servers, pools, provider).deliver(message)
    kept = message_row(servers, message)
    assert (kept["status"], kept["provider_reference"]) == ("sent", None)
    assert await ada.tries(pools, provider.codes[0])


@pytest.mark.proves("2.2.1")
async def test_a_provider_that_hangs_is_given_up_in_time(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert channel.SMS.seconds <= 10
    message = await ada.ask(pools)
    provider.seconds = 60.0
    sender = through(servers, pools, provider)
    monkeypatch.setattr(sender, "_sms", _impatient(servers, provider))
    with pytest.raises(DeliveryDelayed, match="fetch_timed_out"):
        await sender.deliver(message)
    assert message_row(servers, message)["status"] == "queued"


def _impatient(servers: Servers, provider: Provider) -> SmsChannel:
    settings = sms_settings(servers, provider)
    wire = wire_of(settings)
    assert wire is not None
    surface = replace(channel.SMS, seconds=0.3)
    return SmsChannel(wire, settings.allows_country, named_by_operator=True, surface=surface)


@pytest.mark.proves("2.2.1")
async def test_with_the_provider_down_a_message_fails_in_the_end_and_nobody_is_locked_out(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider
) -> None:
    message, sender = await ada.ask(pools), through(servers, pools, provider)
    provider.status, provider.body = 503, b""
    for _ in range(MOST_ATTEMPTS - 1):
        with pytest.raises(DeliveryDelayed):
            await sender.deliver(message)
    await sender.deliver(message)
    assert message_row(servers, message)["status"] == "failed"
    await sender.deliver(message)
    assert len(provider.asked) == MOST_ATTEMPTS
    assert len(set(provider.codes)) > 1, "each attempt has a code of its own"
    tries = ada.row("SELECT count(*) AS made FROM identity.factor_attempts WHERE person_id = %s")
    assert tries["made"] == 0
    provider.status = provider.body = None
    await sender.deliver(await ada.ask(pools))
    assert await ada.tries(pools, provider.codes[-1])


async def test_an_attempt_voids_the_code_of_the_attempt_before(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider
) -> None:
    """A provider may send a message and answer with an error: two codes arrive then, and the later one holds."""
    message, sender = await ada.ask(pools), through(servers, pools, provider)
    provider.status = 500
    with pytest.raises(DeliveryDelayed):
        await sender.deliver(message)
    provider.status = None
    await sender.deliver(message)
    earlier, later = provider.codes
    assert earlier == later or not await ada.tries(pools, earlier)
    assert await ada.tries(pools, later)


@pytest.mark.proves("2.2.1")
async def test_the_door_leads_to_the_provider_alone(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider
) -> None:
    settings = sms_settings(servers, provider)
    wire = wire_of(settings)
    assert wire is not None
    sender = Sender(pools.job, settings)
    async with running(Twilio()) as elsewhere:
        provider.status, provider.location = 307, f"{elsewhere.url}/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
        with pytest.raises(DeliveryDelayed, match="too_many_redirects"):
            await sender.deliver(await ada.ask(pools))
        assert (len(provider.asked), elsewhere.asked) == (1, [])
    unnamed = SmsChannel(wire, settings.allows_country, named_by_operator=False)
    sender._sms = unnamed  # pyright: ignore[reportPrivateUsage] - as if the usual address led to this machine
    with pytest.raises(DeliveryDelayed, match="destination_refused"):
        await sender.deliver(await ada.ask(pools))
    assert len(provider.asked) == 1


async def test_nothing_is_sent_to_a_country_that_is_not_served(
    servers: Servers, pools: Pools, ada: PhoneOwner, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    message = await ada.ask(pools)
    await through(servers, pools, provider, sms_countries=("de", "AT")).deliver(message)
    assert (message_row(servers, message)["status"], provider.asked) == ("failed", [])
    assert "OPERALTA_SMS_COUNTRIES does not have CH" in caplog.text
