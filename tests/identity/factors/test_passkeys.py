"""Passkeys: with one alone, as a second factor, for step-up; and every answer that must not hold."""

import copy
import secrets
from typing import Any

import pytest
from webauthn.helpers import bytes_to_base64url

from operalta.identity.errors import CannotEnrol, PasskeyRefused, TicketOver
from operalta.identity.factors.rules import Bearer
from operalta.identity.tokens import new_secret
from tests.identity.conftest import CLIENT
from tests.identity.factors.conftest import Factors, Person
from tests.identity.factors.software_authenticator import SoftwareAuthenticator

DEEP = bytes_to_base64url(b"[" * 5_900)


async def with_passkey(
    factors: Factors, device: SoftwareAuthenticator | None = None
) -> tuple[Person, SoftwareAuthenticator]:
    person, device = await factors.person(), device or SoftwareAuthenticator()
    options = await factors.passkeys.enrolment_options(person.secret)
    codes = await factors.passkeys.enrol(person.secret, "Laptop", device.create(options))
    assert len(codes) == 10
    return person, device


@pytest.mark.proves("2.2.4")
async def test_a_passkey_signs_in_alone_and_each_answer_holds_once(factors: Factors) -> None:
    # Without a counter nothing but the challenge tells the second use from the first.
    person, device = await with_passkey(factors, SoftwareAuthenticator(counts=False))
    browser = new_secret()
    answer = device.get(await factors.passkeys.sign_in_options(browser))
    signed_in = await factors.passkeys.sign_in(answer, browser, **CLIENT)
    assert signed_in.person_id == person.id
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.sign_in(answer, browser, **CLIENT)
    await factors.enrolment.require_proof(factors.identity.secret_of(signed_in))


@pytest.mark.proves("2.2.4")
async def test_an_answer_made_for_one_browser_is_refused_in_another(factors: Factors) -> None:
    _, device = await with_passkey(factors)
    answer = device.get(await factors.passkeys.sign_in_options(new_secret()))
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.sign_in(answer, new_secret(), **CLIENT)


@pytest.mark.proves("2.2.3")
async def test_a_passkey_is_a_second_factor_after_the_password(factors: Factors) -> None:
    person, device = await with_passkey(factors)
    begun, asking = await factors.knock(person)
    options = await factors.passkeys.options(asking)
    assert len(options["allowCredentials"]) == 1
    await factors.passkeys.prove(asking, device.get(options))
    await factors.finish(begun)


@pytest.mark.proves("2.2.4")
async def test_a_passkey_proves_nobody_but_its_owner_and_nothing_but_what_it_was_asked(factors: Factors) -> None:
    person, device = await with_passkey(factors)
    other, theirs = await with_passkey(factors)
    _, asking = await factors.knock(person)
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.prove(asking, theirs.get(await factors.passkeys.options(asking)))
    for_step_up = device.get(await factors.passkeys.options(Bearer.session(person.secret)))
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.prove(asking, for_step_up)
    browser = new_secret()
    for_sign_in = device.get(await factors.passkeys.sign_in_options(browser))
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.prove(asking, for_sign_in)
    for_step_up = device.get(await factors.passkeys.options(Bearer.session(person.secret)))
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.prove(Bearer.session(other.secret), for_step_up)


@pytest.mark.parametrize(
    ("field", "value"),
    [("origin", "http://evil.example"), ("host", "evil.example"), ("verifies", False)],
)
async def test_another_site_another_host_or_an_unverified_owner_is_refused(
    factors: Factors, field: str, value: object
) -> None:
    _, device = await with_passkey(factors)
    setattr(device, field, value)
    browser = new_secret()
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.sign_in(device.get(await factors.passkeys.sign_in_options(browser)), browser, **CLIENT)
    person = await factors.person()
    fresh = SoftwareAuthenticator()
    setattr(fresh, field, value)
    options = await factors.passkeys.enrolment_options(person.secret)
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.enrol(person.secret, "Laptop", fresh.create(options))


async def test_a_copied_passkey_is_refused_by_its_counter(factors: Factors) -> None:
    _, device = await with_passkey(factors)
    copied = copy.copy(device)
    browser = new_secret()
    for _ in range(2):
        await factors.passkeys.sign_in(device.get(await factors.passkeys.sign_in_options(browser)), browser, **CLIENT)
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.sign_in(copied.get(await factors.passkeys.sign_in_options(browser)), browser, **CLIENT)


async def test_a_passkey_without_a_counter_works_again_and_again(factors: Factors) -> None:
    _, device = await with_passkey(factors, SoftwareAuthenticator(counts=False))
    browser = new_secret()
    for _ in range(2):
        await factors.passkeys.sign_in(device.get(await factors.passkeys.sign_in_options(browser)), browser, **CLIENT)


async def test_a_credential_is_enrolled_once_and_a_removed_one_opens_nothing(factors: Factors) -> None:
    person, device = await with_passkey(factors)
    options = await factors.passkeys.enrolment_options(person.secret)
    assert len(options["excludeCredentials"]) == 1
    with pytest.raises(CannotEnrol):
        await factors.passkeys.enrol(person.secret, "Again", device.create(options))
    passkey = factors.identity.rows("SELECT id FROM identity.passkeys WHERE person_id = %s", person.id)[0]["id"]
    await factors.enrolment.remove(person.secret, passkey)
    browser = new_secret()
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.sign_in(device.get(await factors.passkeys.sign_in_options(browser)), browser, **CLIENT)


async def test_a_challenge_is_over_after_five_minutes(factors: Factors) -> None:
    _, device = await with_passkey(factors)
    browser = new_secret()
    answer = device.get(await factors.passkeys.sign_in_options(browser))
    factors.identity.owner.execute("UPDATE identity.challenges SET expires_at = now() - interval '1 second'")
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.sign_in(answer, browser, **CLIENT)


async def test_without_a_ticket_nothing_is_asked(factors: Factors) -> None:
    person, _ = await with_passkey(factors)
    begun, _ = await factors.knock(person)
    foreign = Bearer.ticket(begun.ticket, new_secret(), begun.purpose)
    with pytest.raises(TicketOver):
        await factors.passkeys.options(foreign)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"rawId": "x"},
        {"rawId": "AAAA", "response": {}},
        {"rawId": "AAAA", "response": {"clientDataJSON": "e30"}},
        {"rawId": "AAAA", "response": {"clientDataJSON": "bm90IGpzb24"}},
        {"rawId": "A", "response": {"clientDataJSON": "A"}},
        {"rawId": "AAAA", "response": []},
        {"rawId": "AAAA", "response": {"clientDataJSON": DEEP}},
    ],
)
async def test_nonsense_is_refused_as_any_other_answer(factors: Factors, answer: dict[str, Any]) -> None:
    person = await factors.person()
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.sign_in(answer, new_secret(), **CLIENT)
    with pytest.raises(PasskeyRefused):
        await factors.passkeys.enrol(person.secret, "Laptop", answer)


async def test_an_answer_altered_in_any_byte_is_refused(factors: Factors) -> None:
    _, device = await with_passkey(factors)
    browser = new_secret()
    for name in ("clientDataJSON", "authenticatorData", "signature"):
        answer = device.get(await factors.passkeys.sign_in_options(browser))
        text = answer["response"][name]
        at = secrets.randbelow(len(text) - 2)
        answer["response"][name] = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(PasskeyRefused):
            await factors.passkeys.sign_in(answer, browser, **CLIENT)
