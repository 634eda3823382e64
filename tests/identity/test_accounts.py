"""Opening an account, proving its address, resetting and changing its password."""

import asyncio
import secrets

import pytest

from operalta.db.errors import SessionEnded
from operalta.db.scope import Origin, open_person_scope
from operalta.identity.accounts import Accounts
from operalta.identity.errors import AddressHasAccount, LinkSpent, SignUpClosed, WrongCredentials, WrongPassword
from operalta.identity.own_account import me, send_verification
from operalta.identity.passwords import WeakPassword
from operalta.identity.sessions import SignedIn
from operalta.kernel.errors import InvalidInput
from tests.identity.conftest import PASSWORD, Identity

OTHER_PASSWORD = "seven quiet harbours sing"


def _fresh_email() -> str:
    return f"{secrets.token_hex(6)}@people.example"


async def _is_alive(identity: Identity, signed_in: SignedIn) -> bool:
    try:
        async with open_person_scope(identity.pools.web, identity.secret_of(signed_in), Origin()):
            return True
    except SessionEnded:
        return False


async def test_an_account_opens_once_its_address_is_confirmed(identity: Identity) -> None:
    email = _fresh_email()
    await identity.accounts.sign_up(email.upper(), "  Ada   Lovelace ", PASSWORD)
    local, _, domain = email.upper().partition("@")
    typed = f"{local}@{domain.lower()}"
    assert identity.mails(typed) == ["confirm_sign_up"]
    with pytest.raises(WrongCredentials):
        await identity.sign_in(email)
    token = identity.link("confirm_sign_up", typed)
    assert await identity.accounts.confirm_address(token)
    signed_in = await identity.sign_in(email)
    async with open_person_scope(identity.pools.web, identity.secret_of(signed_in), Origin()) as scope:
        own = await me(scope)
        assert (own.name, own.email, own.is_operator) == ("Ada Lovelace", typed, False)
        assert own.verified_at is not None
        assert not await send_verification(scope)


@pytest.mark.proves("7.3.2")
async def test_sign_up_answers_the_same_for_a_taken_address_and_mails_its_owner(identity: Identity) -> None:
    email, person = await identity.person()
    await identity.accounts.sign_up(email, "Mallory", OTHER_PASSWORD)
    assert identity.mails(email)[-1] == "already_registered"
    assert identity.rows("SELECT 1 FROM identity.pending_sign_ups WHERE email_key = %s", email) == []
    assert (await identity.sign_in(email)).person_id == person


async def test_what_somebody_else_prepared_never_becomes_the_account(identity: Identity) -> None:
    email = _fresh_email()
    await identity.accounts.sign_up(email, "Mallory", OTHER_PASSWORD)
    theirs = identity.link("confirm_sign_up", email)
    await identity.accounts.sign_up(email, "Ada", PASSWORD)
    mine = identity.link("confirm_sign_up", email)
    assert await identity.accounts.confirm_address(mine)
    assert not await identity.accounts.confirm_address(theirs)
    with pytest.raises(WrongCredentials):
        await identity.sign_in(email, OTHER_PASSWORD)
    await identity.sign_in(email, PASSWORD)


async def test_a_link_holds_once_and_in_its_time_and_for_its_purpose(identity: Identity) -> None:
    email = _fresh_email()
    await identity.accounts.sign_up(email, "Ada", PASSWORD)
    assert not await identity.accounts.confirm_address(identity.link("confirm_sign_up", email, expired=True))
    token = identity.link("confirm_sign_up", email)
    with pytest.raises(LinkSpent):
        await identity.reset(token, OTHER_PASSWORD)
    outcomes = await asyncio.gather(*(identity.accounts.confirm_address(token) for _ in range(5)))
    assert sorted(outcomes) == [False, False, False, False, True]
    for invented in ("", "short", "x" * 43, "\x00" * 43, "é" * 43, "x" * 10_000):
        assert not await identity.accounts.confirm_address(invented)


async def test_sign_up_can_be_closed(identity: Identity) -> None:
    closed = Accounts(identity.pools.signin, identity.hasher, identity.sessions, sign_up_is_open=False)
    with pytest.raises(SignUpClosed):
        await closed.sign_up(_fresh_email(), "Ada", PASSWORD)


@pytest.mark.proves("2.1.2")
async def test_a_password_is_refused_for_its_length_and_for_being_common(identity: Identity) -> None:
    email = _fresh_email()
    for weak in ("sevench", "é" * 7, "password", "aaaaaaaa", "lovelace2026"):
        with pytest.raises(WeakPassword):
            await identity.accounts.sign_up(email, "Ada Lovelace", weak)
    await identity.accounts.sign_up(email, "Ada", "ürümqi-8")


async def test_input_that_cannot_be_used_is_named(identity: Identity) -> None:
    with pytest.raises(InvalidInput) as refused:
        await identity.accounts.sign_up("ada@people.example\nBcc: x@y.example", "Ada", PASSWORD)
    assert refused.value.field == "email"
    with pytest.raises(InvalidInput) as refused:
        await identity.accounts.sign_up(_fresh_email(), "\u202eAda", PASSWORD)
    assert refused.value.field == "name"


@pytest.mark.proves("7.3.2")
async def test_a_reset_is_mailed_to_known_addresses_and_answers_the_same_for_others(identity: Identity) -> None:
    email, _ = await identity.person()
    unknown = _fresh_email()
    await identity.accounts.request_password_reset(email)
    await identity.accounts.request_password_reset(unknown)
    assert identity.mails(email)[-1] == "reset_password"
    assert identity.mails(unknown) == []


@pytest.mark.proves("2.3.4")
async def test_a_reset_ends_every_session_and_voids_other_links(identity: Identity) -> None:
    email, _ = await identity.person()
    signed_in = await identity.sign_in(email)
    await identity.accounts.request_password_reset(email)
    first, second = identity.link("reset_password", email), identity.link("reset_password", email)
    with pytest.raises(WeakPassword):
        await identity.reset(first, "short")
    await identity.reset(first, OTHER_PASSWORD)
    assert not await _is_alive(identity, signed_in)
    with pytest.raises(SessionEnded):
        await identity.sessions.refresh(signed_in.refresh_token, signed_in.device_secret)
    for spent in (first, second):
        with pytest.raises(LinkSpent):
            await identity.reset(spent, PASSWORD)
    with pytest.raises(WrongCredentials):
        await identity.sign_in(email)
    await identity.sign_in(email, OTHER_PASSWORD)
    assert "password_changed" in identity.mails(email)


@pytest.mark.proves("2.3.4")
async def test_a_password_change_ends_the_other_sessions_at_once_and_keeps_this_one(identity: Identity) -> None:
    email, _ = await identity.person()
    here, there = await identity.sign_in(email), await identity.sign_in(email)
    secret = identity.secret_of(here)
    with pytest.raises(WrongPassword):
        await identity.accounts.change_password(secret, "not the present one", OTHER_PASSWORD)
    with pytest.raises(WeakPassword):
        await identity.accounts.change_password(secret, PASSWORD, "short")
    assert await _is_alive(identity, there)
    await identity.accounts.change_password(secret, PASSWORD, OTHER_PASSWORD)
    assert not await _is_alive(identity, there)
    with pytest.raises(SessionEnded):
        await identity.sessions.refresh(there.refresh_token, there.device_secret)
    assert await _is_alive(identity, here)
    renewed = await identity.sessions.refresh(here.refresh_token, here.device_secret)
    assert await _is_alive(identity, renewed)
    with pytest.raises(SessionEnded):
        await identity.accounts.change_password(identity.secret_of(there), PASSWORD, OTHER_PASSWORD)


@pytest.mark.proves("2.3.4")
async def test_a_sign_in_with_the_old_password_never_outlives_a_change(identity: Identity) -> None:
    email, _ = await identity.person()
    here = await identity.sign_in(email)
    results = await asyncio.gather(
        *(identity.sign_in(email) for _ in range(6)),
        identity.accounts.change_password(identity.secret_of(here), PASSWORD, OTHER_PASSWORD),
        *(identity.sign_in(email) for _ in range(6)),
        return_exceptions=True,
    )
    started = [result for result in results if isinstance(result, SignedIn)]
    assert not [
        result for result in results if isinstance(result, Exception) and not isinstance(result, WrongCredentials)
    ]
    assert not any([await _is_alive(identity, session) for session in started])


async def test_the_operators_link_makes_one_operator(identity: Identity) -> None:
    token = _operator_link(identity)
    email, _ = await identity.person()
    about = {"user_agent": "test", "address": "127.0.0.1"}
    with pytest.raises(AddressHasAccount):
        await identity.accounts.become_operator(token, email, "Olga", PASSWORD, device_secret=None, **about)
    assert await identity.accounts.operator_link_holds(token)
    signed_in = await identity.accounts.become_operator(
        token, _fresh_email(), "Olga", PASSWORD, device_secret=None, **about
    )
    async with open_person_scope(identity.pools.web, identity.secret_of(signed_in), Origin()) as scope:
        own = await me(scope)
        assert own.is_operator
        assert own.verified_at is None
        assert await send_verification(scope)
    assert not await identity.accounts.operator_link_holds(token)
    with pytest.raises(LinkSpent):
        await identity.accounts.become_operator(token, _fresh_email(), "Olga", PASSWORD, device_secret=None, **about)
    assert await identity.accounts.confirm_address(identity.link("verify_address", own.email))


async def test_a_signed_in_person_becomes_operator_with_the_link_alone(identity: Identity) -> None:
    email, _ = await identity.person()
    signed_in = await identity.sign_in(email)
    secret = identity.secret_of(signed_in)
    with pytest.raises(LinkSpent):
        await identity.accounts.become_operator_signed_in("x" * 43, secret)
    token = _operator_link(identity)
    with pytest.raises(LinkSpent):
        await identity.accounts.become_operator_signed_in(token, "x" * 43)
    await identity.accounts.become_operator_signed_in(token, secret)
    async with open_person_scope(identity.pools.web, secret, Origin()) as scope:
        assert scope.actor.is_operator


def _operator_link(identity: Identity) -> str:
    token = secrets.token_urlsafe(32)
    identity.owner.execute(
        "INSERT INTO identity.links (purpose, digest, expires_at)"
        " VALUES ('operator', sha256(convert_to(%s, 'UTF8')), now() + interval '30 minutes')",
        (token,),
    )
    return token
