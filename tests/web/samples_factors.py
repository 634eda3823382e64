"""Second factors: proving one, adding one, the codes that are shown once."""

from datetime import timedelta
from typing import Final

from operalta.web.pages.sent_code import SentCode
from operalta.web.qr_code import qr_code
from tests.web.samples_ground import ADA, NOW, Context, Sample, before, page, visitor

_NOT_SENT: Final = SentCode(0, NOW, 0, 0)
_SENT: Final = SentCode(1_760_000_000, NOW + timedelta(minutes=9, seconds=40), 580, 10)
_RUN_OUT: Final = SentCode(1_760_000_000, NOW, 0, 0)
_SECRET: Final = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
_CODES: Final = [f"{first}7QD-M2VA-X4ZT-K{first}3B" for first in "ABCDEFGHIJ"]


def _way(kind: str, *labels: str, paused: bool = False) -> Context:
    return {"key": kind, "kind": kind, "labels": list(labels), "paused": paused, "href": f"/step-up?way={kind}"}


PASSKEY: Final = _way("passkey", "Phone")
APP: Final = _way("authenticator", "Aegis")
PHONE: Final = _way("phone", "…80")
RECOVERY: Final = _way("recovery_code", "7")


def _proving(way: Context | None, *others: Context, **changes: object) -> Context:
    return {
        "page": visitor(),
        "purpose": "sign_in",
        "next": "/c/lumen/chat",
        "destination": "/c/lumen/chat",
        "way": way,
        "other_ways": list(others),
        "code": "",
        "sent": _NOT_SENT,
        **changes,
    }


def proving_pages() -> list[Sample]:
    """Return the pages on which a second factor is proved."""
    paused = _way("phone", "…80", paused=True)
    signed_in = visitor(person=ADA)
    named: dict[str, Context] = {
        "factor-passkey": _proving(PASSKEY, APP, PHONE, RECOVERY),
        "factor-authenticator": _proving(APP, PASSKEY, PHONE, RECOVERY),
        "factor-phone": _proving(PHONE, PASSKEY, APP, RECOVERY),
        "factor-phone-sent": _proving(PHONE, RECOVERY, sent=_SENT),
        "factor-phone-run-out": _proving(PHONE, RECOVERY, sent=_RUN_OUT),
        "factor-phone-paused": _proving(paused, PASSKEY, _way("authenticator", "Aegis", paused=True), RECOVERY),
        "factor-recovery": _proving(RECOVERY, PASSKEY, purpose="reset_password"),
        "step-up": _proving(APP, PASSKEY, RECOVERY, purpose="step_up", page=signed_in),
        "step-up-password": _proving(None, purpose="step_up", page=signed_in),
    }
    return [
        *(Sample(name, "second_factor.html", context) for name, context in named.items()),
        Sample("trust-device", "trust_device.html", {"page": visitor(), "token": "t0ken"}),
    ]


def factor_pages() -> list[Sample]:
    """Return the pages on which factors are added."""
    groups = [_SECRET[at : at + 4] for at in range(0, len(_SECRET), 4)]
    address = f"otpauth://totp/Operalta:ada%40lumen.example?secret={_SECRET}&issuer=Operalta"
    waiting = {"code": qr_code(address), "secret": _SECRET, "groups": groups}
    number = "+41795550123"
    return [
        Sample("add-phone", "add_phone.html", {"page": page(company=None), "phone": "", "code": "", "sent": _NOT_SENT}),
        Sample(
            "add-phone-sent", "add_phone.html", {"page": page(company=None), "phone": number, "code": "", "sent": _SENT}
        ),
        Sample(
            "add-authenticator",
            "add_authenticator.html",
            {"page": page(company=None), "name": "Aegis", "code": "", "waiting": None},
        ),
        Sample(
            "add-authenticator-secret",
            "add_authenticator.html",
            {"page": page(company=None), "name": "", "code": "", "waiting": waiting},
        ),
        Sample("add-passkey", "add_passkey.html", {"page": page(company=None), "name": "Firefox on Linux"}),
        Sample(
            "recovery-codes", "recovery_codes.html", {"page": page(company=None), "codes": _CODES, "is_first": True}
        ),
    ]


def factors_with_errors() -> list[Sample]:
    """Return the forms of this room as they come back."""
    wrong = {"field": "code", "text": "This code is not right, was used before, or has expired."}
    refused = visitor(errors=[wrong])
    return [
        Sample("factor-errors", "second_factor.html", _proving(PHONE, APP, sent=_SENT, code="123 456", page=refused)),
        Sample(
            "add-phone-errors",
            "add_phone.html",
            {
                "page": page(errors=[{"field": "phone", "text": "Give a complete phone number."}]),
                "phone": "044 668",
                "code": "",
                "sent": _NOT_SENT,
            },
        ),
    ]


def own_factors() -> Context:
    """Return what the security page shows of somebody with a factor of each kind."""
    kinds = [("passkey", "Firefox on Linux"), ("authenticator", "Aegis"), ("phone", "+41795550123")]
    return {
        "factors": [
            {
                "id": f"f{number}",
                "kind": kind,
                "label": label,
                "created_at": before(days=90 - number),
                "last_used_at": before(days=number) if number else None,
            }
            for number, (kind, label) in enumerate(kinds)
        ],
        "recovery_codes": {"left": 2, "total": 10},
        "recently_proved": True,
        "offers_sms": True,
    }
