"""Twilio's wire format: the Messages resource of its API of 2010-04-01, and its signed status callbacks."""

import base64
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from operalta.delivery.errors import ReceiptRefused
from operalta.delivery.sms.wire import USUAL_PORTS, Receipt, ReceiptOutcome, Request, as_reference, json_object
from operalta.guard.comparison import is_same_secret
from operalta.terms.registry import upholds

API_URL = "https://api.twilio.com"
SIGNATURE = "x-twilio-signature"
_MESSAGING_SERVICE = "MG"
_OUTCOMES = {
    "delivered": ReceiptOutcome.DELIVERED,
    "read": ReceiptOutcome.DELIVERED,
    "undelivered": ReceiptOutcome.UNDELIVERED,
    "failed": ReceiptOutcome.UNDELIVERED,
    "canceled": ReceiptOutcome.UNDELIVERED,
}


@dataclass(frozen=True, slots=True)
class Twilio:
    """An account at Twilio. `receipts_url` is where it sends receipts; `asks_for_receipts` whether it is told to.

    It refuses messages whose receipts would go to an address that is not public.
    """

    account: str
    sender: str
    receipts_url: str
    token: bytes = field(repr=False)
    asks_for_receipts: bool = True
    api_url: str = API_URL
    name: str = "twilio"

    def request(self, number: str, text: str) -> Request:
        """Return the form that makes a message. A sender that begins with MG is a messaging service."""
        sender = "MessagingServiceSid" if self.sender.startswith(_MESSAGING_SERVICE) else "From"
        form = {"To": number, sender: self.sender, "Body": text}
        if self.asks_for_receipts:
            form["StatusCallback"] = self.receipts_url
        credentials = base64.b64encode(self.account.encode() + b":" + self.token).decode("ascii")
        return Request(
            f"{self.api_url}/2010-04-01/Accounts/{quote(self.account, safe='')}/Messages.json",
            {"Authorization": f"Basic {credentials}", "Content-Type": "application/x-www-form-urlencoded"},
            urlencode(form).encode("ascii"),
        )

    def reference(self, answer: bytes) -> str | None:
        """Return the message's SID."""
        return as_reference(json_object(answer).get("sid"))

    @upholds("3.2.1")
    def receipt(self, headers: Mapping[str, str], body: bytes) -> Receipt | None:
        """Return what a status callback says. Raise ReceiptRefused unless our account's token signed it."""
        form = _form(body)
        presented = headers.get(SIGNATURE, "")
        expected = [self.signature(url, form) for url in _spellings(self.receipts_url)]
        if not any([is_same_secret(presented, each) for each in expected]):  # noqa: C419 - all of them are compared
            raise ReceiptRefused
        said = dict(form)
        reference = as_reference(said.get("MessageSid"))
        outcome = _OUTCOMES.get(said.get("MessageStatus", ""))
        return None if reference is None or outcome is None else Receipt(reference, outcome)

    def signature(self, url: str, form: list[tuple[str, str]]) -> str:
        """Return Twilio's signature: base64 of HMAC-SHA-1 over the URL and the form's sorted names and values."""
        signed = url + "".join(name + value for name, value in sorted(set(form)))
        return base64.b64encode(hmac.digest(self.token, signed.encode("utf-8", "replace"), "sha1")).decode("ascii")


def _form(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return []


def _spellings(url: str) -> Iterator[str]:
    """Yield an address with and without its port: which of them Twilio signs depends on its product."""
    parts = urlsplit(url)
    host = parts.netloc.removesuffix(f":{parts.port}")
    for port in ("", f":{parts.port or USUAL_PORTS.get(parts.scheme, '')}"):
        yield parts._replace(netloc=host + port).geturl()
