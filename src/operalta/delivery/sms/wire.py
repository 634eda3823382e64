"""What a provider's wire format says: the request for a message, its answer, and the receipts that come later. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol, cast

RECEIPTS_PATH = "/callbacks/sms"
"""Below it, receipts are taken at the provider's name."""

USUAL_PORTS: Mapping[str, int] = {"http": 80, "https": 443}

_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,100}")
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,40}")


@dataclass(frozen=True, slots=True)
class Request:
    """One POST to the provider. Headers hold its token and the body the code, so neither is printed."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class ReceiptOutcome(StrEnum):
    """What became of a message, as far as its provider knows."""

    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a provider tells of a message, by the name that it gave the message itself."""

    reference: str
    outcome: ReceiptOutcome


class Wire(Protocol):
    """One provider's format, with the account that it is used by."""

    @property
    def name(self) -> str:
        """What the settings and the receipts' address call the provider."""
        ...

    @property
    def api_url(self) -> str:
        """The address of its API, without a slash at the end."""
        ...

    def request(self, number: str, text: str) -> Request:
        """Return the request that has `text` sent to a number in E.164."""
        ...

    def reference(self, answer: bytes) -> str | None:
        """Return what the provider calls a message that it took; None where its answer does not say."""
        ...

    def receipt(self, headers: Mapping[str, str], body: bytes) -> Receipt | None:
        """Return what a receipt says, or None where it says nothing final.

        `headers` are looked up in lower case. Raise ReceiptRefused unless the provider has signed it.
        """
        ...


def json_object(body: bytes) -> Mapping[str, Any]:
    """Return the object that `body` holds; an empty one where it holds none."""
    try:
        found: object = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def as_reference(value: object) -> str | None:
    """Return a provider's name for a message, where it is one that can be kept."""
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else None


def error_code(body: bytes) -> str:
    """Return the code of the error that an answer names, fit for a log; `none` where there is none.

    Its sentence is left out: it repeats the number.
    """
    code = str(json_object(body).get("code", ""))
    return code if _CODE.fullmatch(code) else "none"
