"""Second factors, as far as they are pure: bearers, ways, time steps of authenticators, recovery codes."""

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from pyotp import random_base32
from pyotp.totp import TOTP

from operalta.guard.codes import typed_code
from operalta.guard.comparison import is_same_secret
from operalta.identity.errors import TicketOver
from operalta.identity.rules import could_be_token
from operalta.identity.tokens import digest
from operalta.terms.registry import upholds

STEP_SECONDS = 30
"""RFC 6238 section 5.2 recommends 30 seconds; every app takes that."""
STEPS_AROUND = 1
"""One step before and one after the present one are accepted, for clocks that are off (RFC 6238 section 6)."""
AUTHENTICATOR_SECRET_BYTES = 20
"""RFC 4226 section 4 asks for 160 bits."""
RECOVERY_CODES = 10
_RECOVERY_BYTES = 10
_RECOVERY_GROUP = 4
_RECOVERY_LENGTH = 16
_BASE32 = re.compile(rf"[A-Z2-7]{{{_RECOVERY_LENGTH}}}", re.ASCII)


class Purpose(StrEnum):
    """What a second factor is proved for."""

    SIGN_IN = "sign_in"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a purpose
    STEP_UP = "step_up"


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who is proving a factor: a ticket (after the right password or a reset's link), or a live session.

    `device` is the digest of the device's own secret; a ticket holds on the device that began it alone.
    """

    kind: str
    secret: str = field(repr=False)
    device: bytes = field(repr=False)
    purpose: Purpose

    @classmethod
    def ticket(cls, secret: str | None, device_secret: str | None, purpose: Purpose) -> "Bearer":
        """Return the bearer of a ticket's and its device's secret. Raise TicketOver where they cannot be ours."""
        if secret is None or device_secret is None or not (could_be_token(secret) and could_be_token(device_secret)):
            raise TicketOver
        return cls("ticket", secret, digest(device_secret), purpose)

    @classmethod
    def session(cls, access_secret: str) -> "Bearer":
        """Return the bearer of a session's access secret, who steps up."""
        return cls("session", access_secret, b"", Purpose.STEP_UP)


class WayKind(StrEnum):
    """The kinds of second factors."""

    PHONE = "phone"
    AUTHENTICATOR = "authenticator"
    PASSKEY = "passkey"
    RECOVERY_CODE = "recovery_code"


@dataclass(frozen=True, slots=True)
class Way:
    """One way that is open to a bearer. `label` is what its owner knows it by: an ending of a number, a name, a count.

    `id` is None for recovery codes. `paused`: too many wrong codes, on a device that the account does not know.
    """

    id: UUID | None
    kind: WayKind
    label: str
    paused: bool


def new_authenticator_secret() -> str:
    """Return a fresh shared secret in base32, as apps take it."""
    return random_base32(AUTHENTICATOR_SECRET_BYTES * 8 // 5)


def authenticator_address(secret: str, account: str) -> str:
    """Return the `otpauth:` address that an app reads from a QR code."""
    return TOTP(secret, interval=STEP_SECONDS).provisioning_uri(name=account, issuer_name="Operalta")


def matching_step(secret: str, typed: str, now: int, last_step: int) -> int | None:
    """Return the time step whose code was typed, later than `last_step`; None where there is none.

    Every step is compared, whether one matched before or not. `now` is in Unix seconds.
    """
    code = typed_code(typed) or ""
    totp = TOTP(secret, interval=STEP_SECONDS)
    present = now // STEP_SECONDS
    matches = [
        step
        for step in range(present - STEPS_AROUND, present + STEPS_AROUND + 1)
        if is_same_secret(code, totp.generate_otp(step)) and step > last_step
    ]
    return matches[0] if matches else None


@upholds("3.2.2")
def new_recovery_codes() -> tuple[str, ...]:
    """Return fresh recovery codes of 80 random bits each, in four groups of four letters and digits."""
    codes: list[str] = []
    for _ in range(RECOVERY_CODES):
        text = base64.b32encode(secrets.token_bytes(_RECOVERY_BYTES)).decode()
        codes.append("-".join(text[at : at + _RECOVERY_GROUP] for at in range(0, _RECOVERY_LENGTH, _RECOVERY_GROUP)))
    return tuple(codes)


def recovery_digest(key: bytes, typed: str) -> bytes | None:
    """Return the keyed SHA-256 digest under which a recovery code is kept; None where it cannot be one.

    Case, spaces and hyphens do not matter, and the digits that people read for letters are taken as those.
    """
    plain = re.sub(r"[\s-]", "", typed.upper()).translate(str.maketrans("018", "OIB"))
    if not _BASE32.fullmatch(plain):
        return None
    return hmac.new(key, b"recovery code|" + plain.encode(), hashlib.sha256).digest()
