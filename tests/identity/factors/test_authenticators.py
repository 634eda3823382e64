"""Authenticator apps and recovery codes: a step holds once, a code on paper once, secrets open in their row alone."""

import asyncio
import secrets
from uuid import uuid4

import pytest
from pyotp.totp import TOTP

from operalta.identity.errors import NoSuchFactor, NotProved, WrongCode
from operalta.identity.factors.authenticators import AuthenticatorSecrets
from operalta.identity.factors.rules import (
    Bearer,
    WayKind,
    authenticator_address,
    matching_step,
    new_recovery_codes,
    recovery_digest,
)
from operalta.kernel import clock
from operalta.sealing.errors import Tampered
from operalta.sealing.keys import RootKey, RootKeys, new_root_key_text
from tests.identity.conftest import CLIENT
from tests.identity.factors.conftest import Factors, Person


def free_step(factors: Factors, person: Person) -> None:
    """Let the steps that were used be long ago."""
    factors.identity.owner.execute(
        "UPDATE identity.authenticators SET last_step = 0 WHERE person_id = %s", (person.id,)
    )


@pytest.mark.proves("2.2.4")
async def test_a_code_of_an_app_signs_in_once(factors: Factors) -> None:
    person, secret = await factors.with_authenticator()
    free_step(factors, person)
    begun, asking = await factors.knock(person)
    code = TOTP(secret).now()
    await factors.proving.by_authenticator(asking, code, **CLIENT)
    await factors.finish(begun)
    _, again = await factors.knock(person)
    with pytest.raises(WrongCode):
        await factors.proving.by_authenticator(again, code, **CLIENT)


@pytest.mark.proves("2.2.4")
async def test_one_step_taken_by_many_at_once_admits_one(factors: Factors) -> None:
    person, secret = await factors.with_authenticator()
    free_step(factors, person)
    bearers = [(await factors.knock(person))[1] for _ in range(8)]
    code = TOTP(secret).now()
    outcomes = await asyncio.gather(
        *(factors.proving.by_authenticator(bearer, code, **CLIENT) for bearer in bearers), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 1
    assert all(outcome is None or isinstance(outcome, WrongCode) for outcome in outcomes)


async def test_an_app_becomes_a_factor_with_its_first_right_code_alone(factors: Factors) -> None:
    person = await factors.person()
    waiting = await factors.enrolment.begin_authenticator(person.secret, "Phone", person.email)
    with pytest.raises(WrongCode):
        await factors.enrolment.confirm_authenticator(
            person.secret, "000000" if TOTP(waiting.secret).now() != "000000" else "1"
        )
    assert await factors.proving.ways(Bearer.session(person.secret)) == ()
    codes = await factors.enrolment.confirm_authenticator(person.secret, TOTP(waiting.secret).now())
    assert len(set(codes)) == 10
    ways = await factors.proving.ways(Bearer.session(person.secret))
    assert [way.kind for way in ways] == [WayKind.AUTHENTICATOR, WayKind.RECOVERY_CODE]


@pytest.mark.proves("2.2.4")
async def test_a_recovery_code_holds_once_however_it_is_typed(factors: Factors) -> None:
    person, _ = await factors.with_authenticator()
    codes = await factors.enrolment.replace_recovery_codes(person.secret)
    begun, asking = await factors.knock(person)
    typed = codes[3].lower().replace("-", " ")
    await factors.proving.by_recovery_code(asking, typed, **CLIENT)
    await factors.finish(begun)
    _, again = await factors.knock(person)
    for spent in (codes[3], "", "AAAA-AAAA-AAAA-AAAA", codes[4][:-1]):
        with pytest.raises(WrongCode):
            await factors.proving.by_recovery_code(again, spent, **CLIENT)
    other, _ = await factors.with_authenticator()
    _, theirs = await factors.knock(other)
    with pytest.raises(WrongCode):
        await factors.proving.by_recovery_code(theirs, codes[5], **CLIENT)
    assert "factor_changed" in factors.identity.mails(person.email)


async def test_new_recovery_codes_void_the_old_ones_and_the_last_factor_takes_them_along(factors: Factors) -> None:
    person, _ = await factors.with_authenticator()
    first = await factors.enrolment.replace_recovery_codes(person.secret)
    await factors.enrolment.replace_recovery_codes(person.secret)
    _, asking = await factors.knock(person)
    with pytest.raises(WrongCode):
        await factors.proving.by_recovery_code(asking, first[0], **CLIENT)
    app = factors.identity.rows("SELECT id FROM identity.authenticators WHERE person_id = %s", person.id)[0]["id"]
    await factors.enrolment.remove(person.secret, app)
    assert factors.identity.rows("SELECT 1 FROM identity.recovery_codes WHERE person_id = %s", person.id) == []
    with pytest.raises(NoSuchFactor):
        await factors.enrolment.replace_recovery_codes(person.secret)
    await factors.identity.sign_in(person.email)


@pytest.mark.proves("2.2.3")
async def test_changing_factors_needs_a_recent_proof_by_a_factor_where_there_is_one(factors: Factors) -> None:
    person, secret = await factors.with_authenticator()
    factors.age(person, 11 / 1440)
    app = factors.identity.rows("SELECT id FROM identity.authenticators WHERE person_id = %s", person.id)[0]["id"]
    await factors.identity.accounts.prove_password(person.secret, "four wooden ladders lean")
    with pytest.raises(NotProved):
        await factors.enrolment.remove(person.secret, app)
    with pytest.raises(NotProved):
        await factors.enrolment.replace_recovery_codes(person.secret)
    with pytest.raises(NotProved):
        await factors.enrolment.begin_authenticator(person.secret, "Another", person.email)
    with pytest.raises(NotProved):
        await factors.passkeys.enrolment_options(person.secret)
    with pytest.raises(NotProved):
        await factors.identity.accounts.change_password(
            person.secret, "four wooden ladders lean", "seven quiet harbours"
        )
    free_step(factors, person)
    await factors.proving.by_authenticator(Bearer.session(person.secret), TOTP(secret).now(), **CLIENT)
    await factors.enrolment.remove(person.secret, app)


async def test_a_factor_of_somebody_else_is_not_found(factors: Factors) -> None:
    person, _ = await factors.with_authenticator()
    other, _ = await factors.with_authenticator()
    theirs = factors.identity.rows("SELECT id FROM identity.authenticators WHERE person_id = %s", other.id)[0]["id"]
    with pytest.raises(NoSuchFactor):
        await factors.enrolment.remove(person.secret, theirs)


def test_three_steps_are_accepted_and_none_that_was_used() -> None:
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    now = 1_700_000_000
    present = now // 30
    codes = {step: TOTP(secret).generate_otp(step) for step in range(present - 2, present + 3)}
    assert [matching_step(secret, code, now, 0) for code in codes.values()] == [
        None, present - 1, present, present + 1, None,
    ]  # fmt: skip
    assert matching_step(secret, codes[present], now, present) is None
    assert matching_step(secret, codes[present + 1], now, present) == present + 1
    assert matching_step(secret, "abc", now, 0) is None


def test_the_address_for_apps_names_account_and_issuer() -> None:
    secret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
    address = authenticator_address(secret, "ada@people.example")
    assert address.startswith(f"otpauth://totp/Operalta:ada%40people.example?secret={secret}&issuer=Operalta")


def test_a_secret_opens_in_its_own_row_and_unaltered() -> None:
    sealed_by = AuthenticatorSecrets(RootKeys(RootKey.from_text(new_root_key_text())))
    app = uuid4()
    sealed = sealed_by.seal(app, "JBSWY3DPEHPK3PXP")
    assert sealed_by.open(app, sealed) == "JBSWY3DPEHPK3PXP"
    assert b"JBSWY3DPEHPK3PXP" not in sealed
    for place, value in ((uuid4(), sealed), (app, sealed[:-1] + bytes([sealed[-1] ^ 1])), (app, b"\xff" * 60)):
        with pytest.raises(Tampered):
            sealed_by.open(place, value)


def test_a_secret_sealed_before_the_root_key_was_replaced_still_opens() -> None:
    old, new = RootKey.from_text(new_root_key_text()), RootKey.from_text(new_root_key_text())
    app = uuid4()
    sealed = AuthenticatorSecrets(RootKeys(old)).seal(app, "JBSWY3DPEHPK3PXP")
    assert AuthenticatorSecrets(RootKeys(new, (old,))).open(app, sealed) == "JBSWY3DPEHPK3PXP"


def test_recovery_codes_are_random_and_read_as_people_write_them() -> None:
    key = secrets.token_bytes(32)
    codes = new_recovery_codes()
    assert len({recovery_digest(key, code) for code in codes}) == len(codes) == 10
    assert recovery_digest(key, "oooo-iiii-bbbb-aaaa") == recovery_digest(key, "0000 1111 8888 AAAA")
    assert recovery_digest(secrets.token_bytes(32), codes[0]) != recovery_digest(key, codes[0])
    assert clock.unix_seconds() > 0
