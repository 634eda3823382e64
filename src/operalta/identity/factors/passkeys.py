"""Passkeys (WebAuthn Level 3): signing in without a password, as a second factor, for step-up, and enrolling one.

The device must verify its owner each time, so a passkey is both factors at once. A challenge is used up before its
answer is looked at, and holds for the bearer (or the device) it was made for alone.
"""

import secrets
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    base64url_to_bytes,
    decode_credential_public_key,
    decoded_public_key_to_cryptography,
    options_to_json_dict,
    parse_client_data_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from operalta.db.errors import SessionEnded
from operalta.db.pools import Pool
from operalta.db.scope import Row
from operalta.identity.errors import CannotEnrol, NotProved, PasskeyRefused, TicketOver
from operalta.identity.factors import store
from operalta.identity.factors.enrolment import Enrolment
from operalta.identity.factors.rules import Bearer, Purpose
from operalta.identity.rules import person_name
from operalta.identity.sessions import Sessions, SignedIn
from operalta.identity.tokens import digest
from operalta.terms.registry import upholds

CHALLENGE_BYTES = 32
TIMEOUT_MILLISECONDS = 300_000
_KNOWN_TRANSPORTS = frozenset(transport.value for transport in AuthenticatorTransport)
_VERIFIED = UserVerificationRequirement.REQUIRED
_LONGEST_CREDENTIAL_ID, _LONGEST_PUBLIC_KEY = 1023, 4096
_UNREADABLE = (
    WebAuthnException,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RecursionError,
    UnsupportedAlgorithm,
)
"""What the library raises over answers that are none, beyond the refusals that it declares."""

Options = dict[str, Any]
"""What a browser's `navigator.credentials` is given, as JSON (WebAuthn section 5.1.8 and 5.1.9)."""
Credential = Mapping[str, Any]
"""What it answers, as JSON (`PublicKeyCredential.toJSON`)."""


class Passkeys:
    """Passkeys of one deployment, for the host of `base_url` and pages of exactly that origin."""

    def __init__(self, signin_pool: Pool, sessions: Sessions, enrolment: Enrolment, base_url: str) -> None:
        self._pool = signin_pool
        self._sessions = sessions
        self._enrolment = enrolment
        self._origin = base_url
        self._host = urlsplit(base_url).hostname or ""

    # ── Signing in without a password ─────────────────────────────────────────────────────────────────

    async def sign_in_options(self, device_secret: str) -> Options:
        """Return what a visitor's browser is asked. No account is named, so nothing is told about any."""
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        async with self._pool.acquire() as connection, connection.transaction():
            await store.keep_challenge(connection, digest(device_secret), Purpose.SIGN_IN, challenge)
        return self._authentication(challenge, [])

    @upholds("2.2.4", "7.3.2")
    async def sign_in(self, credential: Credential, device_secret: str, *, user_agent: str, address: str) -> SignedIn:
        """Start a session for the owner of a passkey. Raise PasskeyRefused, whatever is not right."""
        challenge = await self._take_challenge(digest(device_secret), Purpose.SIGN_IN, credential)
        known, count = await self._verified(credential, challenge)
        signed_in = await self._sessions.start_with_passkey(
            known["id"], count, device_secret=device_secret, user_agent=user_agent, address=address
        )
        if signed_in is None:
            raise PasskeyRefused
        return signed_in

    # ── As a second factor, and for step-up ───────────────────────────────────────────────────────────

    async def options(self, asking: Bearer) -> Options:
        """Return what a bearer's browser is asked, its person's passkeys named. Raise TicketOver."""
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        async with self._pool.acquire() as connection, connection.transaction():
            if not await store.keep_challenge(connection, asking, _wanted(asking), challenge):
                raise TicketOver
            ways = await store.ways(connection, asking)
        return self._authentication(challenge, [way for way in ways if way["credential_id"] is not None])

    @upholds("2.2.4")
    async def prove(self, asking: Bearer, credential: Credential) -> None:
        """Prove the second factor by a passkey of the bearer's own person. Raise PasskeyRefused."""
        challenge = await self._take_challenge(asking, _wanted(asking), credential)
        known, count = await self._verified(credential, challenge)
        async with self._pool.acquire() as connection, connection.transaction():
            accepted = await store.accept_passkey(connection, asking, known["id"], count)
        if not accepted:
            raise PasskeyRefused

    # ── Enrolling ─────────────────────────────────────────────────────────────────────────────────────

    @upholds("2.2.3")
    async def enrolment_options(self, session_secret: str) -> Options:
        """Return what the browser of somebody who adds a passkey is asked. Raise NotProved or SessionEnded."""
        challenge = secrets.token_bytes(CHALLENGE_BYTES)
        async with self._pool.acquire() as connection, connection.transaction():
            owner = await store.passkey_owner(connection, session_secret)
            if owner is None or not await store.keep_challenge(
                connection, Bearer.session(session_secret), "enrol_passkey", challenge
            ):
                over = await store.is_proved(connection, session_secret) is None
                raise SessionEnded if over else NotProved
        options = generate_registration_options(
            rp_id=self._host,
            rp_name="Operalta",
            user_id=owner["person_id"].bytes,
            user_name=owner["email"],
            user_display_name=owner["name"],
            challenge=challenge,
            timeout=TIMEOUT_MILLISECONDS,
            authenticator_selection=AuthenticatorSelectionCriteria(
                resident_key=ResidentKeyRequirement.REQUIRED, user_verification=_VERIFIED
            ),
            exclude_credentials=[PublicKeyCredentialDescriptor(id=known) for known in owner["credentials"]],
        )
        return options_to_json_dict(options)

    async def enrol(self, session_secret: str, name: str, credential: Credential) -> tuple[str, ...]:
        """Make a passkey a factor; return recovery codes where there are none.

        Raise NotProved, PasskeyRefused or CannotEnrol.
        """
        clean = person_name(name)
        await self._enrolment.require_proof(session_secret)
        challenge = await self._take_challenge(Bearer.session(session_secret), "enrol_passkey", credential)
        try:
            verified = verify_registration_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self._host,
                expected_origin=self._origin,
                require_user_verification=True,
            )
            # A key that cannot be read now would never verify anything.
            decoded_public_key_to_cryptography(decode_credential_public_key(verified.credential_public_key))
        except _UNREADABLE:
            raise PasskeyRefused from None
        if (
            len(verified.credential_id) > _LONGEST_CREDENTIAL_ID
            or len(verified.credential_public_key) > _LONGEST_PUBLIC_KEY
        ):
            raise PasskeyRefused
        async with self._pool.acquire() as connection, connection.transaction():
            added = await store.add_passkey(
                connection,
                session_secret,
                name=clean,
                credential=verified.credential_id,
                public_key=verified.credential_public_key,
                count=verified.sign_count,
                transports=_transports(credential),
            )
        if not added:
            raise CannotEnrol
        return await self._enrolment.first_recovery_codes(session_secret)

    def _authentication(self, challenge: bytes, ways: list[Row]) -> Options:
        allowed = [
            PublicKeyCredentialDescriptor(
                id=way["credential_id"],
                transports=[AuthenticatorTransport(each) for each in way["transports"] if each in _KNOWN_TRANSPORTS],
            )
            for way in ways
        ]
        options = generate_authentication_options(
            rp_id=self._host,
            challenge=challenge,
            timeout=TIMEOUT_MILLISECONDS,
            allow_credentials=allowed,
            user_verification=_VERIFIED,
        )
        return options_to_json_dict(options)

    async def _take_challenge(self, asking: Bearer | bytes, wanted: str, credential: Credential) -> bytes:
        challenge = _challenge_of(credential)
        async with self._pool.acquire() as connection, connection.transaction():
            if not await store.take_challenge(connection, asking, wanted, challenge):
                raise PasskeyRefused
        return challenge

    async def _verified(self, credential: Credential, challenge: bytes) -> tuple[Row, int]:
        """Return the passkey that gave this answer, and its counter. Raise PasskeyRefused."""
        try:
            named = base64url_to_bytes(str(credential["rawId"]))
        except (KeyError, ValueError):
            raise PasskeyRefused from None
        async with self._pool.acquire() as connection, connection.transaction():
            known = await store.passkey(connection, named)
        if known is None:
            raise PasskeyRefused
        try:
            verified = verify_authentication_response(
                credential=dict(credential),
                expected_challenge=challenge,
                expected_rp_id=self._host,
                expected_origin=self._origin,
                credential_public_key=known["public_key"],
                credential_current_sign_count=known["sign_count"],
                require_user_verification=True,
            )
        except _UNREADABLE:
            raise PasskeyRefused from None
        return known, verified.new_sign_count


def _wanted(asking: Bearer) -> str:
    return "step_up" if asking.purpose is Purpose.STEP_UP else "second_factor"


def _challenge_of(credential: Credential) -> bytes:
    """Return the challenge that an answer says it answers. Raise PasskeyRefused where it says none."""
    try:
        client_data = parse_client_data_json(base64url_to_bytes(str(credential["response"]["clientDataJSON"])))
    except _UNREADABLE:
        raise PasskeyRefused from None
    return client_data.challenge


def _transports(credential: Credential) -> list[str]:
    """Return how the authenticator may be reached, as far as the browser says something that is known."""
    told: object = credential.get("response", {}).get("transports", [])
    return (
        sorted(_KNOWN_TRANSPORTS & {str(each) for each in cast("list[object]", told)}) if isinstance(told, list) else []
    )
