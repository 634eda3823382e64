"""Somebody who has the password and guesses codes for a year, and the owner who still gets in."""

from fractions import Fraction

import pytest
from pyotp.totp import TOTP

from operalta.identity.errors import WayPaused, WrongCode
from operalta.identity.factors.rules import Bearer, Purpose
from operalta.identity.sessions import new_secret
from tests.identity.conftest import CLIENT
from tests.identity.factors.conftest import Factors, Person, digest

DAYS = 365
ENOUGH = 100
CHANCE_OF_A_CODE = Fraction(1, 1_000_000)
CHANCE_OF_AN_APP = Fraction(3, 1_000_000)


async def guess_codes(factors: Factors, person: Person, device: str | None = None) -> int:
    """Guess as long as anything admits it; return how many guesses were compared with a living code."""
    compared = 0
    while compared < ENOUGH:
        _, asking = await factors.knock(person, device)
        try:
            code = await factors.send(asking, person)
            for _ in range(3):
                wrong = f"{(int(code) + 1) % 10**6:06d}"
                with pytest.raises(WrongCode):
                    await factors.prove_by_code(asking, wrong)
                compared += 1
        except WayPaused:
            return compared
    raise AssertionError("nothing stops the guessing")


async def guess_app(factors: Factors, person: Person) -> int:
    compared = 0
    while compared < ENOUGH:
        _, asking = await factors.knock(person)
        try:
            # Digits that no step of now has would do; letters are compared just the same.
            await factors.proving.by_authenticator(asking, "not a code", **CLIENT)
        except WrongCode:
            compared += 1
        except WayPaused:
            return compared
    raise AssertionError("nothing stops the guessing")


@pytest.mark.proves("3.1.4", "2.2.3")
async def test_a_year_of_guessing_succeeds_less_than_once_in_ten_thousand_and_the_owner_gets_in(
    factors: Factors,
) -> None:
    person = await factors.with_phone()
    _, secret = await factors.with_authenticator(person)
    home = person.signed_in.device_secret
    by_code = by_app = 0
    for day in range(0, DAYS, 5):
        factors.age(person, 5 if day else 0)
        by_code += await guess_codes(factors, person)
        by_app += await guess_app(factors, person)
    assert by_code > 0
    assert by_app > 0
    assert by_code * CHANCE_OF_A_CODE + by_app * CHANCE_OF_AN_APP < Fraction(1, 10_000), (by_code, by_app)
    assert "trust_device" in factors.identity.mails(person.email)

    # The owner, on the device where a factor was proved before, with either.
    begun, asking = await factors.knock(person, home)
    await factors.prove_by_code(asking, await factors.send(asking, person))
    await factors.finish(begun)
    factors.identity.owner.execute(
        "UPDATE identity.authenticators SET last_step = 0 WHERE person_id = %s", (person.id,)
    )
    begun, asking = await factors.knock(person, home)
    await factors.proving.by_authenticator(asking, TOTP(secret).now(), **CLIENT)
    await factors.finish(begun)

    # The owner, on a new device, with the mailed link; a stranger's device stays paused.
    device = new_secret()
    begun, asking = await factors.knock(person, device)
    with pytest.raises(WayPaused):
        await factors.proving.send_code(asking, factors.phone(person))
    await factors.identity.accounts.trust_device(factors.identity.link("trust_device", person.email), device)
    await factors.prove_by_code(asking, await factors.send(asking, person))
    await factors.finish(begun)
    _, stranger = await factors.knock(person)
    with pytest.raises(WayPaused):
        await factors.proving.send_code(stranger, factors.phone(person))


async def test_whoever_reads_the_owners_mail_as_well_gets_ten_guesses_a_year_more(factors: Factors) -> None:
    person = await factors.with_phone()
    assert await guess_codes(factors, person) == 40
    compared = 0
    for _ in range(5):
        device = new_secret()
        await factors.identity.accounts.trust_device(factors.identity.link("trust_device", person.email), device)
        compared += await guess_codes(factors, person, device)
    assert compared == 10


async def test_a_known_device_that_guesses_twenty_times_becomes_a_stranger(factors: Factors) -> None:
    person = await factors.with_phone()
    home = person.signed_in.device_secret
    assert await guess_codes(factors, person, home) == 20 + 40
    begun = Bearer.ticket((await factors.knock(person, home))[0].ticket, home, Purpose.SIGN_IN)
    with pytest.raises(WayPaused):
        await factors.proving.send_code(begun, factors.phone(person))


async def test_a_known_device_guesses_a_hundred_times_a_year_whatever_succeeds_between(factors: Factors) -> None:
    person = await factors.with_phone()
    home = person.signed_in.device_secret
    factors.identity.owner.execute(
        "INSERT INTO identity.factor_attempts (person_id, way, standing, device_digest, at)"
        " SELECT %s, 'phone', 'known', %s, now() - nth * interval '3 days' FROM generate_series(1, 100) AS nth",
        (person.id, digest(home)),
    )
    _, asking = await factors.knock(person, home)
    await factors.prove_by_code(asking, await factors.send(asking, person))
    standing = "SELECT identity.standing_of(%s, %s, 'phone') AS standing"
    with factors.identity.owner.transaction():
        factors.identity.owner.execute("SET LOCAL ROLE operalta_definer")
        assert factors.identity.rows(standing, person.id, digest(home))[0]["standing"] == "stranger"


async def test_two_apps_share_one_budget(factors: Factors) -> None:
    person, _ = await factors.with_authenticator()
    await factors.with_authenticator(person)
    assert await guess_app(factors, person) == 6


async def test_the_owners_success_wipes_no_strangers_guess_away(factors: Factors) -> None:
    person = await factors.with_phone()
    first = await guess_codes(factors, person)
    begun, asking = await factors.knock(person, person.signed_in.device_secret)
    await factors.prove_by_code(asking, await factors.send(asking, person))
    await factors.finish(begun)
    assert (first, await guess_codes(factors, person)) == (40, 0)


async def test_a_paused_way_leaves_the_others_open_and_the_owner_is_told_once_an_hour(factors: Factors) -> None:
    person = await factors.with_phone()
    _, secret = await factors.with_authenticator(person)
    await guess_codes(factors, person)
    await guess_codes(factors, person)
    begun, asking = await factors.knock(person)
    assert [(way.kind.value, way.paused) for way in await factors.proving.ways(asking)] == [
        ("phone", True), ("authenticator", False), ("recovery_code", False),
    ]  # fmt: skip
    factors.identity.owner.execute(
        "UPDATE identity.authenticators SET last_step = 0 WHERE person_id = %s", (person.id,)
    )
    await factors.proving.by_authenticator(asking, TOTP(secret).now(), **CLIENT)
    await factors.finish(begun)
    assert factors.identity.mails(person.email).count("trust_device") == 1


async def test_tries_are_counted_apart_on_a_known_device(factors: Factors) -> None:
    person = await factors.with_phone()
    home = person.signed_in.device_secret
    _, known = await factors.knock(person, home)
    _, stranger = await factors.knock(person)
    assert await factors.proving.counted_as(stranger) == f"person:{person.id}"
    assert await factors.proving.counted_as(known) == f"person:{person.id} on {digest(home).hex()}"
    stepping_up = Bearer.session(person.secret)
    assert await factors.proving.counted_as(stepping_up) == await factors.proving.counted_as(known)
