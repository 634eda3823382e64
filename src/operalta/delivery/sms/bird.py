"""Bird's wire format: the messages of its Channels API, and its signed webhooks for `sms.outbound`."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote

from operalta.delivery.errors import ReceiptRefused
from operalta.delivery.sms.wire import Receipt, ReceiptOutcome, Request, as_reference, json_object
from operalta.guard.comparison import is_same_secret
from operalta.kernel import clock
from operalta.terms.registry import upholds

API_URL = "https://api.bird.com"
SIGNATURE = "messagebird-signature"
TIMESTAMP = "messagebird-request-timestamp"
OLDEST_SECONDS = 300
"""How old, or how far in the future, a receipt may be."""

_EVENT = "sms.outbound"
_LONGEST_TIMESTAMP = 12
_OUTCOMES = {
    "delivered": ReceiptOutcome.DELIVERED,
    "delivery_failed": ReceiptOutcome.UNDELIVERED,
    "sending_failed": ReceiptOutcome.UNDELIVERED,
    "rejected": ReceiptOutcome.UNDELIVERED,
    "skipped": ReceiptOutcome.UNDELIVERED,
}


@dataclass(frozen=True, slots=True)
class Bird:
    """A channel for SMS in a workspace at Bird. Webhooks are subscribed to there, for `receipts_url`."""

    workspace: str
    channel: str
    receipts_url: str
    token: bytes = field(repr=False)
    signing_key: bytes = field(repr=False)
    api_url: str = API_URL
    name: str = "bird"

    def request(self, number: str, text: str) -> Request:
        """Return the JSON that makes a message."""
        receiver = {"contacts": [{"identifierKey": "phonenumber", "identifierValue": number}]}
        body = {"receiver": receiver, "body": {"type": "text", "text": {"text": text}}}
        workspace, channel = quote(self.workspace, safe=""), quote(self.channel, safe="")
        return Request(
            f"{self.api_url}/workspaces/{workspace}/channels/{channel}/messages",
            {"Authorization": f"AccessKey {self.token.decode('latin-1')}", "Content-Type": "application/json"},
            json.dumps(body).encode("ascii"),
        )

    def reference(self, answer: bytes) -> str | None:
        """Return the message's id."""
        return as_reference(json_object(answer).get("id"))

    @upholds("3.2.1")
    def receipt(self, headers: Mapping[str, str], body: bytes) -> Receipt | None:
        """Return what a webhook says. Raise ReceiptRefused unless our signing key signed it, not long ago."""
        timestamp = headers.get(TIMESTAMP, "")
        signed = is_same_secret(headers.get(SIGNATURE, ""), self.signature(timestamp, self.receipts_url, body))
        if not signed or not _is_recent(timestamp):
            raise ReceiptRefused
        event = json_object(body)
        payload: object = event.get("payload")
        if event.get("event") != _EVENT or not isinstance(payload, dict):
            return None
        said = cast("dict[str, Any]", payload)
        reference, outcome = as_reference(said.get("id")), _OUTCOMES.get(str(said.get("status")))
        return None if reference is None or outcome is None else Receipt(reference, outcome)

    def signature(self, timestamp: str, url: str, body: bytes) -> str:
        """Return Bird's signature: base64 of HMAC-SHA-256 over the time, the URL and the body's SHA-256, in lines."""
        lines = (timestamp.encode("utf-8", "replace"), url.encode(), hashlib.sha256(body).digest())
        return base64.b64encode(hmac.digest(self.signing_key, b"\n".join(lines), "sha256")).decode("ascii")


def _is_recent(timestamp: str) -> bool:
    """Tell whether a time in Unix seconds is near enough to now."""
    if not (timestamp.isascii() and timestamp.isdecimal()) or len(timestamp) > _LONGEST_TIMESTAMP:
        return False
    return abs(clock.now().timestamp() - int(timestamp)) <= OLDEST_SECONDS
