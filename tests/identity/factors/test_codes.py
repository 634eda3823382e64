"""Codes by SMS: bound to person, session and purpose, three tries each, ten minutes, used once."""

import asyncio
import secrets
from contextlib import nullcontext

import pytest

from operalta.db.errors import SessionEnded
from operalta.db.scope import Origin, open_person_scope
from operalta.guard.codes import typed_code
from operalta.identity.errors import (
    CannotEnrol,
    CountryNotServed,
    NotAMobileNumber,
    NotProved,
    SendingPaused,
    TicketOver,
    TooManyCodes,
    WrongCode,
)
from operalta.identity.factors.rules import Bearer, Purpose
from operalta.identity.sessions import SecondFactorNeeded
from tests.identity.factors.conftest import Factors


def another(code: str) -> str:
    """A code that is not this one."""
    return f"{(int(code) + 1) % 10**6:06d}"


@pytest.mark.proves("2.2.1", "2.2.3")
async def test_a_password_alone_starts_no_session_where_there_is_a_phone(factors: Factors) -> None:
    person = await factors.with_phone()
    begun, asking = await factors.knock(person)
    with pytest.raises(TicketOver):
        await factors.finish(begun)
    await factors.prove_by_code(asking, await factors.send(asking, person))
    signed_in = await factors.finish(begun)
    async with open_person_scope(factors.identity.pools.web, factors.identity.secret_of(signed_in), Origin()):
        pass
    with pytest.raises(TicketOver):
        await factors.finish(begun)


@pytest.mark.proves("2.2.4")
async def test_the_right_code_is_refused_in_other_hands_and_for_other_purposes(factors: Factors) -> None:
    person, stranger = await factors.with_phone(), await factors.with_phone()
    begun, asking = await factors.knock(person)
    code = await factors.send(asking, person)
    _, elsewhere = await factors.knock(person)
    _, others = await factors.knock(stranger)
    stolen = Bearer.ticket(begun.ticket, elsewhere.secret, Purpose.SIGN_IN)
    for bearer in (elsewhere, others, stolen, Bearer.session(person.secret), Bearer.session(stranger.secret)):
        with pytest.raises(WrongCode):
            await factors.prove_by_code(bearer, code)
    with pytest.raises(WrongCode):
        await factors.proving.by_enrolment_code(person.secret, code)
    reset = await a_reset(factors, person.email)
    with pytest.raises(WrongCode):
        await factors.prove_by_code(Bearer.ticket(reset.ticket, reset.device_secret, Purpose.RESET_PASSWORD), code)
    await factors.prove_by_code(asking, code)


@pytest.mark.proves("2.2.4")
async def test_in_one_session_a_code_to_step_up_adds_no_phone_and_one_that_adds_a_phone_proves_nothing(
    factors: Factors,
) -> None:
    person = await factors.with_phone()
    session = Bearer.session(person.secret)
    code = await factors.send(session, person)
    with pytest.raises(WrongCode):
        await factors.proving.by_enrolment_code(person.secret, code)
    await factors.prove_by_code(session, code)
    await factors.enrolment.send_code(person.secret, factors.enrolment.number_to_enrol("+4915123456789"))
    code = factors.deliver(person.id)
    with pytest.raises(WrongCode):
        await factors.prove_by_code(session, code)
    await factors.proving.by_enrolment_code(person.secret, code)


async def a_reset(factors: Factors, email: str) -> SecondFactorNeeded:
    await factors.identity.accounts.request_password_reset(email)
    begun = await factors.identity.reset(factors.identity.link("reset_password", email), "seven quiet harbours sing")
    assert begun is not None
    return begun


@pytest.mark.proves("2.2.4")
async def test_fifty_uses_at_once_admit_one(factors: Factors) -> None:
    person = await factors.with_phone()
    _, asking = await factors.knock(person)
    code = await factors.send(asking, person)
    tried = await factors.try_code(asking)
    outcomes = await asyncio.gather(*(factors.accept(asking, tried) for _ in range(50)))
    assert sorted(outcomes) == [False] * 49 + [True]
    with pytest.raises(WrongCode):
        await factors.prove_by_code(asking, code)


@pytest.mark.proves("3.1.4")
async def test_the_fourth_try_fails_although_it_is_right(factors: Factors) -> None:
    person = await factors.with_phone()
    _, asking = await factors.knock(person)
    code = await factors.send(asking, person)
    for _ in range(3):
        with pytest.raises(WrongCode):
            await factors.prove_by_code(asking, another(code))
    with pytest.raises(WrongCode):
        await factors.prove_by_code(asking, code)
    await factors.prove_by_code(asking, await factors.send(asking, person))


@pytest.mark.proves("3.1.4")
async def test_a_hundred_guesses_at_once_count_three(factors: Factors) -> None:
    person = await factors.with_phone()
    _, asking = await factors.knock(person)
    await factors.send(asking, person)
    tried = await asyncio.gather(*(factors.try_code(asking) for _ in range(100)))
    assert sum(each.outcome == "tried" for each in tried) == 3
    rows = factors.identity.rows(
        "SELECT attempts FROM identity.codes WHERE person_id = %s AND purpose = 'sign_in'", person.id
    )
    assert [row["attempts"] for row in rows] == [3]


@pytest.mark.proves("2.2.2")
@pytest.mark.parametrize(("seconds", "holds"), [(9 * 60 + 59, True), (10 * 60 + 1, False)])
async def test_a_code_lives_ten_minutes_by_the_clock_of_the_database(
    factors: Factors, seconds: int, *, holds: bool
) -> None:
    person = await factors.with_phone()
    begun, asking = await factors.knock(person)
    code = await factors.send(asking, person)
    factors.identity.owner.execute(
        "UPDATE identity.codes SET created_at = created_at - make_interval(secs => %(by)s),"
        " expires_at = expires_at - make_interval(secs => %(by)s) WHERE person_id = %(person)s",
        {"by": seconds, "person": person.id},
    )
    if holds:
        await factors.prove_by_code(asking, code)
        await factors.finish(begun)
    else:
        with pytest.raises(WrongCode):
            await factors.prove_by_code(asking, code)


async def test_a_new_code_voids_the_one_before(factors: Factors) -> None:
    person = await factors.with_phone()
    _, asking = await factors.knock(person)
    first = await factors.send(asking, person)
    second = await factors.send(asking, person)
    with pytest.raises(WrongCode):
        await factors.prove_by_code(asking, first if first != second else another(second))
    await factors.prove_by_code(asking, second)


@pytest.mark.proves("2.2.5", "3.2.2")
async def test_the_code_itself_is_kept_nowhere(factors: Factors) -> None:
    person = await factors.with_phone()
    _, asking = await factors.knock(person)
    code = await factors.send(asking, person)
    for table in (
        "identity.codes",
        "identity.tickets",
        "identity.factor_attempts",
        "delivery.messages",
        "audit.events",
    ):
        for row in factors.identity.rows(f"SELECT t::text AS text FROM {table} AS t"):  # noqa: S608 - names from above
            fields = row["text"].strip("()").split(",")
            assert code not in fields, table
    kept = factors.identity.rows(
        "SELECT digest FROM identity.codes WHERE person_id = %s ORDER BY created_at DESC", person.id
    )
    assert len(kept[0]["digest"]) == 32


async def test_a_ticket_is_over_after_a_quarter_of_an_hour_and_after_a_new_password(factors: Factors) -> None:
    person = await factors.with_phone()
    begun, asking = await factors.knock(person)
    code = await factors.send(asking, person)
    factors.identity.owner.execute(
        "UPDATE identity.tickets SET expires_at = now() - interval '1 second' WHERE person_id = %s", (person.id,)
    )
    with pytest.raises(TicketOver):
        await factors.proving.counted_as(asking)
    with pytest.raises(WrongCode):
        await factors.prove_by_code(asking, code)
    begun, asking = await factors.knock(person)
    await factors.prove_by_code(asking, await factors.send(asking, person))
    await factors.identity.accounts.change_password(
        person.secret, "four wooden ladders lean", "seven quiet harbours sing"
    )
    with pytest.raises(TicketOver):
        await factors.finish(begun)


@pytest.mark.proves("2.2.3")
async def test_a_reset_changes_nothing_before_the_factor_is_proved(factors: Factors) -> None:
    person = await factors.with_phone()
    begun = await a_reset(factors, person.email)
    asking = Bearer.ticket(begun.ticket, begun.device_secret, Purpose.RESET_PASSWORD)
    with pytest.raises(TicketOver):
        await factors.identity.accounts.finish_reset(begun.ticket, begun.device_secret)
    await factors.knock(person)
    await factors.prove_by_code(asking, await factors.send(asking, person))
    with pytest.raises(TicketOver):
        await factors.identity.sessions.finish_sign_in(begun.ticket, begun.device_secret)
    await factors.identity.accounts.finish_reset(begun.ticket, begun.device_secret)
    assert isinstance(await factors.identity.begin(person.email, "seven quiet harbours sing"), SecondFactorNeeded)
    with pytest.raises(SessionEnded):
        async with open_person_scope(factors.identity.pools.web, person.secret, Origin()):
            pass
    with pytest.raises(TicketOver):
        await factors.identity.accounts.finish_reset(begun.ticket, begun.device_secret)


async def test_a_number_is_enrolled_by_a_session_that_has_proved_itself_and_once(factors: Factors) -> None:
    person = await factors.person()
    number = factors.enrolment.number_to_enrol(person.number)
    factors.age(person, 11 / 1440)
    with pytest.raises(NotProved):
        await factors.enrolment.send_code(person.secret, number)
    await factors.identity.accounts.prove_password(person.secret, "four wooden ladders lean")
    await factors.enrolment.send_code(person.secret, number)
    codes = await factors.enrolment.confirm_phone(person.secret, factors.deliver(person.id))
    assert len(codes) == 10
    with pytest.raises(CannotEnrol):
        await factors.enrolment.send_code(person.secret, number)


async def test_codes_go_to_the_countries_that_are_served(factors: Factors) -> None:
    for typed in ("+1 202 555 0123",):
        with pytest.raises(CountryNotServed):
            factors.enrolment.number_to_enrol(typed)
    assert factors.enrolment.number_to_enrol("+49 1512 3456789").country == "DE"
    person = await factors.with_phone()
    _, asking = await factors.knock(person)
    factors.identity.owner.execute(
        "UPDATE identity.phones SET number = '+12025550123' WHERE person_id = %s", (person.id,)
    )
    with pytest.raises(CountryNotServed):
        await factors.proving.send_code(asking, factors.phone(person))


async def test_a_person_asks_for_six_enrolment_codes_a_day(factors: Factors) -> None:
    person = await factors.person()
    for number in range(6):
        await factors.enrolment.send_code(person.secret, factors.enrolment.number_to_enrol(f"+4178000{number:04d}"))
    with pytest.raises(TooManyCodes):
        await factors.enrolment.send_code(person.secret, factors.enrolment.number_to_enrol(person.number))


async def test_at_once_no_more_are_sent_than_one_after_the_other(factors: Factors) -> None:
    person = await factors.person()
    numbers = [factors.enrolment.number_to_enrol(f"+4177000{number:04d}") for number in range(20)]
    outcomes = await asyncio.gather(
        *(factors.enrolment.send_code(person.secret, number) for number in numbers), return_exceptions=True
    )
    assert sum(outcome is None for outcome in outcomes) == 6


async def test_a_number_gets_two_enrolment_codes_in_five_minutes_whoever_asks(factors: Factors) -> None:
    people = [await factors.person() for _ in range(3)]
    number = factors.enrolment.number_to_enrol(people[0].number)
    for person in people[:2]:
        await factors.enrolment.send_code(person.secret, number)
    with pytest.raises(TooManyCodes):
        await factors.enrolment.send_code(people[2].secret, number)


async def test_twenty_codes_a_day_go_out_and_strangers_use_up_none_of_the_owners(factors: Factors) -> None:
    person = await factors.with_phone()
    _, stranger = await factors.knock(person)
    for _ in range(20):
        await factors.proving.send_code(stranger, factors.phone(person))
    with pytest.raises(TooManyCodes):
        await factors.proving.send_code(stranger, factors.phone(person))
    _, known = await factors.knock(person, person.signed_in.device_secret)
    await factors.proving.send_code(known, factors.phone(person))


async def test_a_phone_that_was_removed_proves_nothing_any_more(factors: Factors) -> None:
    person = await factors.with_phone()
    await factors.with_authenticator(person)
    begun, asking = await factors.knock(person)
    code = await factors.send(asking, person)
    await factors.enrolment.remove(person.secret, factors.phone(person))
    with pytest.raises(WrongCode):
        await factors.prove_by_code(asking, code)
    with pytest.raises(TicketOver):
        await factors.finish(begun)


@pytest.mark.parametrize("typed", ["+41900123456", "+19002345678", "+41446681800", "+41800123456"])
async def test_codes_go_to_mobile_phones_alone(factors: Factors, typed: str) -> None:
    with pytest.raises(NotAMobileNumber):
        factors.enrolment.number_to_enrol(typed)


ASKED_FOR_CODES = """
    WITH asking AS (
        INSERT INTO identity.people (email, email_key, name)
        SELECT address, address, 'Somebody' FROM generate_series(1, %(people)s) AS nth,
            concat('p', nth, '@pumping.example') AS address RETURNING id
    ), signed_in AS (
        INSERT INTO identity.sessions (id, person_id, refresh_digest, access_digest, device_digest, user_agent, address,
            idle_expires_at, absolute_expires_at)
        SELECT gen_random_uuid(), asking.id, '', sha256(asking.id::text::bytea), '', '', '', now(), now() FROM asking
        RETURNING id, person_id
    )
    INSERT INTO identity.codes (person_id, session_id, purpose, number, country, created_at, attempts, used_at,
        accepted_at)
    SELECT person_id, signed_in.id, 'enrol_phone', '+4915123456789', 'DE', now() - interval '1 hour', 1, now(),
        CASE WHEN row_number() OVER (ORDER BY person_id) <= %(used)s THEN now() END
    FROM signed_in, generate_series(1, %(codes)s)
"""


@pytest.mark.parametrize(
    ("people", "codes", "used", "paused"),
    [(30, 1, 5, True), (30, 1, 6, False), (29, 1, 0, False), (29, 6, 0, False), (5, 60, 0, False)],
)
async def test_sending_to_a_country_pauses_when_hardly_anybody_uses_their_code_and_not_for_a_handful(
    factors: Factors, people: int, codes: int, used: int, *, paused: bool
) -> None:
    person = await factors.person()
    number = factors.enrolment.number_to_enrol(f"+491512{secrets.randbelow(10**7):07d}")
    factors.identity.owner.execute(ASKED_FOR_CODES, {"people": people, "codes": codes, "used": used * codes})
    try:
        with pytest.raises(SendingPaused) if paused else nullcontext():
            await factors.enrolment.send_code(person.secret, number)
    finally:
        factors.identity.owner.execute("DELETE FROM identity.people WHERE email LIKE '%@pumping.example'")


@pytest.mark.parametrize(
    "typed", ["12345", "1234567", "12345a", "", "\u0661\u0662\u0663\u0664\u0665\u0666", "123456\x00"]
)
def test_what_is_no_code_is_compared_with_nothing(typed: str) -> None:
    assert typed_code(typed) is None
    assert typed_code(" 123 456 ") == typed_code("123-456") == "123456"
