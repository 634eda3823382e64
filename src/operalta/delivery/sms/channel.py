"""The channel for SMS: the provider that the settings name, reached through the one door, and what its answers mean."""

import logging
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from urllib.parse import urlsplit

from operalta.delivery.channels import Channel, NoChannel
from operalta.delivery.errors import DeliveryDelayed, DeliveryRefused
from operalta.delivery.rules import Message
from operalta.delivery.sms.bird import Bird
from operalta.delivery.sms.twilio import Twilio
from operalta.delivery.sms.wire import RECEIPTS_PATH, USUAL_PORTS, Wire, error_code
from operalta.delivery.texts import Text
from operalta.guard.errors import PhoneNotInternational
from operalta.guard.phone_numbers import phone_number
from operalta.kernel.errors import Refusal
from operalta.sandbox.egress import ALLOW_LISTED, EgressDoor, EgressLine, EgressPolicy, FetchedPage
from operalta.settings import Settings, SmsProvider
from operalta.terms.registry import upholds

SMS = replace(
    ALLOW_LISTED,
    name="sms",
    methods=frozenset({"POST"}),
    request_bytes=16 * 1024,
    response_bytes=64 * 1024,
    seconds=10.0,
    redirects=0,
)
"""What may be asked of the network to send one SMS; the provider's host is added. No redirect sees the code."""

_PURPOSE = "send sms"
_PASSING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
_NOT_LET_IN = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_LOG = logging.getLogger(__name__)


class SmsChannel:
    """Sends through one provider, to numbers of the countries that `serves` allows (ISO 3166-1 alpha-2).

    `named_by_operator`: the provider's address stands in the settings, so it may be on this machine or network.
    """

    def __init__(
        self, wire: Wire, serves: Callable[[str], bool], *, named_by_operator: bool, surface: EgressPolicy = SMS
    ) -> None:
        host = _host_and_port(wire.api_url)
        self._wire = wire
        self._serves = serves
        self._surface = surface.for_hosts(host)
        self._door = EgressDoor(self._surface, (host,) if named_by_operator else (), _note)

    @upholds("2.2.1")
    async def send(self, message: Message, text: Text) -> str | None:
        """Have the provider send a message; return what it calls it. Raise DeliveryRefused or DeliveryDelayed."""
        self._require_served(message.recipient)
        request = self._wire.request(message.recipient, text.body.strip())
        try:
            page = await self._door.fetch(
                request.url,
                surface=self._surface,
                purpose=_PURPOSE,
                method="POST",
                headers=request.headers,
                body=request.body,
            )
        except Refusal as refusal:
            raise DeliveryDelayed(f"the SMS provider cannot be used: {refusal.code}") from refusal
        _check(page)
        return self._wire.reference(page.body)

    def _require_served(self, number: str) -> None:
        """Hold the list of countries here too: numbers that became a factor earlier were checked by an earlier one."""
        try:
            country = phone_number(number).country
        except PhoneNotInternational as refusal:
            raise DeliveryRefused("the number is none") from refusal
        if not self._serves(country):
            raise DeliveryRefused(f"OPERALTA_SMS_COUNTRIES does not have {country}")


def sms_channel(settings: Settings) -> Channel | None:
    """Return the channel that the settings name; None where SMS stay in the outbox. Raise SettingsError."""
    if settings.sms_uses_outbox:
        return None
    wire = wire_of(settings)
    if wire is None:
        return NoChannel()
    return SmsChannel(wire, settings.allows_country, named_by_operator=settings.sms_api_url is not None)


def wire_of(settings: Settings) -> Wire | None:
    """Return the wire format and account of the provider that is set, or None. Raise SettingsError."""
    account, sender = settings.sms_account or "", settings.sms_sender or ""
    receipts_url = f"{settings.base_url}{RECEIPTS_PATH}/{settings.sms_provider.value}"
    match settings.sms_provider:
        case SmsProvider.NONE:
            return None
        case SmsProvider.TWILIO:
            token, public = settings.secret("sms-token"), settings.public_url is not None
            wire = Twilio(account, sender, receipts_url, token, asks_for_receipts=public)
        case SmsProvider.BIRD:
            wire = Bird(account, sender, receipts_url, settings.secret("sms-token"), settings.secret("sms-signing-key"))
    return wire if settings.sms_api_url is None else replace(wire, api_url=settings.sms_api_url.rstrip("/"))


def _check(page: FetchedPage) -> None:
    """Raise what a status means where it is not success. The provider's sentence is not repeated: it has the number."""
    if HTTPStatus(200) <= page.status < HTTPStatus.MULTIPLE_CHOICES:
        return
    said = f"status {page.status}, its code {error_code(page.body)}"
    if page.status in _NOT_LET_IN:
        raise DeliveryRefused(
            f"the SMS provider does not let us in ({said}): check OPERALTA_SMS_ACCOUNT, OPERALTA_SMS_SENDER and the "
            "secret sms-token"
        )
    if HTTPStatus.BAD_REQUEST <= page.status < HTTPStatus.INTERNAL_SERVER_ERROR and page.status not in _PASSING:
        raise DeliveryRefused(f"the SMS provider refuses the number or the text ({said})")
    raise DeliveryDelayed(f"the SMS provider does not take it now ({said})")


def _host_and_port(url: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}")
    return f"{host}:{parts.port or USUAL_PORTS[parts.scheme]}"


async def _note(line: EgressLine) -> None:
    """Leave the request in the log: it is the deployment's, and the egress log holds those of companies."""
    _LOG.info(
        "%s: %s:%d at %s answered %s in %d ms",
        line.errand.purpose,
        line.host,
        line.port,
        line.address,
        line.status if line.refusal is None else line.refusal,
        line.milliseconds,
    )
