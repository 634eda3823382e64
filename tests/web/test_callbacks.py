"""Delivery receipts as they come over HTTP: signed ones are noted, all others change nothing and learn nothing."""

from collections.abc import Generator
from urllib.parse import urlencode
from uuid import UUID, uuid4

import pytest

from operalta.delivery.sms.receipts import LONGEST_RECEIPT_BYTES
from operalta.settings import SmsProvider
from tests.conftest import Servers
from tests.delivery.phone_owner import give_secrets
from tests.delivery.sms_server import SIGNING_KEY, TOKEN
from tests.delivery.test_receipts import bird_headers, event, twilio_headers
from tests.web.site import Answer, Site, serving

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
JSON = {"Content-Type": "application/json", "Accept": "application/json"}


@pytest.fixture(scope="module")
def twilio(servers: Servers) -> Generator[Site]:
    give_secrets(servers)
    with serving(servers, sms_provider=SmsProvider.TWILIO, sms_account="AC1", sms_countries=("CH",)) as started:
        yield started


@pytest.fixture(scope="module")
def bird(servers: Servers) -> Generator[Site]:
    give_secrets(servers)
    with serving(servers, sms_provider=SmsProvider.BIRD, sms_account="w", sms_countries=("CH",)) as started:
        yield started


def told_by_twilio(site: Site, reference: str, status: str, signed: str | None = None) -> Answer:
    form = {"MessageSid": reference, "MessageStatus": status, "AccountSid": "AC1"}
    url = f"{site.address}/callbacks/sms/twilio"
    headers = twilio_headers(url, form | {"MessageStatus": signed or status}, TOKEN.encode())
    return site.visitor().request("POST", "/callbacks/sms/twilio", urlencode(form).encode(), FORM | headers)


def told_by_bird(site: Site, reference: str, status: str, signed: str | None = None) -> Answer:
    body = event(payload={"id": reference, "status": status})
    url = f"{site.address}/callbacks/sms/bird"
    to_sign = event(payload={"id": reference, "status": signed or status})
    headers = bird_headers(to_sign, url=url, key=SIGNING_KEY.encode())
    return site.visitor().request("POST", "/callbacks/sms/bird", body, JSON | headers)


def sent_message(servers: Servers) -> tuple[UUID, str]:
    reference = f"SM{uuid4().hex}"
    with servers.as_owner() as owner:
        row = owner.execute(
            "INSERT INTO delivery.messages (kind, recipient, status, provider_reference)"
            " VALUES ('password_changed', 'ada@people.example', 'sent', %s) RETURNING id",
            (reference,),
        ).fetchone()
    assert row is not None
    return row["id"], reference


def status_of(servers: Servers, message: UUID) -> str:
    with servers.as_owner() as owner:
        row = owner.execute("SELECT status FROM delivery.messages WHERE id = %s", (message,)).fetchone()
    assert row is not None
    return row["status"]


@pytest.mark.proves("2.2.1")
@pytest.mark.parametrize(("provider", "failed"), [("twilio", "undelivered"), ("bird", "delivery_failed")])
def test_a_signed_receipt_is_noted_and_its_replay_changes_nothing(
    servers: Servers, request: pytest.FixtureRequest, provider: str, failed: str
) -> None:
    site: Site = request.getfixturevalue(provider)
    tell = told_by_twilio if provider == "twilio" else told_by_bird
    message, reference = sent_message(servers)
    answers = [
        (tell(site, reference, status).status, status_of(servers, message))
        for status in (failed, "delivered", failed, "delivered")
    ]
    assert answers == [(204, "undelivered"), (204, "delivered"), (204, "delivered"), (204, "delivered")]
    assert tell(site, "SMnobody", "delivered").status == 204


@pytest.mark.proves("3.2.1")
@pytest.mark.parametrize("provider", ["twilio", "bird"])
def test_what_nobody_signed_changes_nothing_and_learns_nothing(
    servers: Servers, request: pytest.FixtureRequest, provider: str
) -> None:
    site: Site = request.getfixturevalue(provider)
    tell = told_by_twilio if provider == "twilio" else told_by_bird
    message, reference = sent_message(servers)
    path = f"/callbacks/sms/{provider}"
    forged = tell(site, reference, "delivered", signed="sent")
    missing = site.visitor().request("POST", path, b"MessageStatus=delivered", FORM)
    unknown = tell(site, "SMnobody", "delivered", signed="sent")
    assert [answer.status for answer in (forged, missing, unknown)] == [403, 403, 403]
    said = [{**answer.json, "request_id": ""} for answer in (forged, missing, unknown)]
    assert said[0] == said[1] == said[2]
    assert status_of(servers, message) == "sent"
    large = site.visitor().request("POST", path, b"x" * (LONGEST_RECEIPT_BYTES + 1), FORM)
    assert large.status == 413


def test_where_no_provider_or_another_one_is_set_there_is_nothing(site: Site, twilio: Site) -> None:
    assert told_by_twilio(site, "SM1", "delivered").status == 404
    assert told_by_bird(twilio, "SM1", "delivered").status == 404
    assert twilio.visitor().request("POST", "/callbacks/sms/none", b"", FORM).status == 404


def test_a_page_of_another_site_is_refused_before_anything_is_read(twilio: Site) -> None:
    headers = FORM | {"Origin": "https://evil.example"}
    assert twilio.visitor().request("POST", "/callbacks/sms/twilio", b"", headers).status == 403
