"""Signing in, rotating, signing out: one lineage, one successor, and an end that holds at once."""

import asyncio
import secrets
from typing import LiteralString
from uuid import UUID

import pytest

from operalta.db.errors import SessionEnded
from operalta.db.scope import Origin, open_person_scope
from operalta.identity.errors import NoSuchSession, WrongCredentials
from operalta.identity.own_account import end_other_sessions, end_session, list_sessions, list_sign_ins
from operalta.identity.passwords import PasswordHash, PasswordHasher, Verification
from operalta.identity.sessions import Sessions, SignedIn
from operalta.identity.tokens import InvalidToken, new_secret
from operalta.kernel.ids import SessionId
from tests.identity.conftest import PASSWORD, Identity


async def _is_alive(identity: Identity, signed_in: SignedIn) -> bool:
    try:
        async with open_person_scope(identity.pools.web, identity.secret_of(signed_in), Origin()):
            return True
    except SessionEnded:
        return False


async def _refresh(identity: Identity, signed_in: SignedIn) -> SignedIn:
    return await identity.sessions.refresh(signed_in.refresh_token, signed_in.device_secret)


def _set(identity: Identity, signed_in: SignedIn, column_and_age: LiteralString) -> None:
    identity.owner.execute(
        f"UPDATE identity.sessions SET {column_and_age} WHERE id = %s",  # noqa: S608 - the test's own literals
        (signed_in.session_id,),
    )


@pytest.mark.proves("7.3.2")
async def test_unknown_wrong_and_malformed_are_refused_alike_with_the_same_work(identity: Identity) -> None:
    email, _ = await identity.person()
    counting = _CountingHasher(identity.hasher)
    sessions = Sessions(identity.pools.signin, counting, identity.tokens, secrets.token_bytes(32))
    answers: list[tuple[type, str]] = []
    for address in (
        email,
        f"{secrets.token_hex(6)}@people.example",
        "not an address",
        "a@b\r\nc.example",
        "\x00@b.example",
    ):
        with pytest.raises(WrongCredentials) as refused:
            await sessions.sign_in(address, "wrong password", device_secret=None, user_agent="x", address="192.0.2.7")
        answers.append((type(refused.value), refused.value.public_text))
    assert len(set(answers)) == 1
    assert counting.verified == len(answers)


@pytest.mark.proves("2.3.1")
async def test_fifty_refreshes_at_once_keep_one_lineage_and_one_successor(identity: Identity) -> None:
    email, _ = await identity.person()
    first = await identity.sign_in(email)
    renewed = await asyncio.gather(*(_refresh(identity, first) for _ in range(50)))
    assert {again.refresh_token for again in renewed} == {renewed[0].refresh_token} != {first.refresh_token}
    assert len({identity.secret_of(again) for again in renewed}) == 1
    for again in renewed:
        assert await _is_alive(identity, again)
    # Requests that were under way with the former access token are not cut off either.
    assert await _is_alive(identity, first)
    row = identity.rows("SELECT counter, ended_at FROM identity.sessions WHERE id = %s", first.session_id)[0]
    assert (row["counter"], row["ended_at"]) == (1, None)
    onward = await _refresh(identity, renewed[-1])
    assert onward.refresh_token.split(".")[1] == "2"


@pytest.mark.proves("2.3.1")
async def test_a_refresh_token_replayed_after_the_grace_ends_the_session(identity: Identity) -> None:
    email, _ = await identity.person()
    first = await identity.sign_in(email)
    second = await _refresh(identity, first)
    _set(identity, first, "rotated_at = rotated_at - interval '11 seconds'")
    with pytest.raises(SessionEnded):
        await _refresh(identity, first)
    assert not await _is_alive(identity, second)
    with pytest.raises(SessionEnded):
        await _refresh(identity, second)
    events = identity.rows(
        "SELECT action FROM audit.events WHERE target_id = %s ORDER BY occurred_at", str(first.session_id)
    )
    assert [event["action"] for event in events] == ["session.started", "session.reuse_detected"]


@pytest.mark.proves("2.3.1")
async def test_a_token_two_steps_old_ends_the_session_even_within_the_grace(identity: Identity) -> None:
    email, _ = await identity.person()
    first = await identity.sign_in(email)
    third = await _refresh(identity, await _refresh(identity, first))
    with pytest.raises(SessionEnded):
        await _refresh(identity, first)
    assert not await _is_alive(identity, third)


async def test_the_grace_never_outlives_a_revocation(identity: Identity) -> None:
    email, _ = await identity.person()
    first = await identity.sign_in(email)
    second = await _refresh(identity, first)
    assert await identity.sessions.sign_out(identity.secret_of(second))
    for token in (first, second):
        assert not await _is_alive(identity, token)
        with pytest.raises(SessionEnded):
            await _refresh(identity, token)
    assert not await identity.sessions.sign_out(identity.secret_of(second))
    assert not await identity.sessions.sign_out("\x00")


@pytest.mark.parametrize("device", [None, "", "x" * 43])
@pytest.mark.parametrize("rotated", [False, True])
async def test_a_refresh_token_on_another_device_ends_the_session(
    identity: Identity, device: str | None, *, rotated: bool
) -> None:
    email, _ = await identity.person()
    first = await identity.sign_in(email)
    latest = await _refresh(identity, first) if rotated else first
    with pytest.raises(SessionEnded):
        await identity.sessions.refresh(first.refresh_token, device)
    assert not await _is_alive(identity, latest)
    with pytest.raises(SessionEnded):
        await _refresh(identity, latest)


async def test_an_altered_refresh_token_is_refused_without_asking_the_database(identity: Identity) -> None:
    email, _ = await identity.person()
    victim = await identity.sign_in(email)
    session, counter, code = victim.refresh_token.split(".")
    other = (await identity.sign_in(email)).refresh_token.split(".")
    altered = [
        "",
        "..",
        session,
        f"{session}.{counter}.",
        f"{session}.{int(counter) + 1}.{code}",
        f"{session}.0{counter}.{code}",
        f"{session}.-1.{code}",
        f"{other[0]}.{counter}.{code}",
        f"{session.upper()}.{counter}.{code}",
        f"{session}.{counter}.{code}=",
        f"{session}.{counter}.{code}\n",
        f"{session}.{counter}.{'A' * 43}",
        f"{UUID(session)}.{counter}.{code}",
        f"{session}.{'9' * 4000}.{code}",
        *(f"{session}.{counter}.{_flip(code, place)}" for place in range(43)),
    ]
    for token in altered:
        with pytest.raises(SessionEnded):
            await identity.sessions.refresh(token, victim.device_secret)
    # Nobody who cannot make a code can end the session either.
    assert await _is_alive(identity, await _refresh(identity, victim))


async def test_tokens_of_another_deployment_are_refused(identity: Identity) -> None:
    email, _ = await identity.person()
    foreign = Sessions(identity.pools.signin, identity.hasher, identity.tokens, secrets.token_bytes(32))
    signed_in = await identity.sign_in(email)
    with pytest.raises(SessionEnded):
        await foreign.refresh(signed_in.refresh_token, signed_in.device_secret)
    with pytest.raises(InvalidToken):
        identity.tokens.verify_access(signed_in.refresh_token)
    head, body, signature = signed_in.access_token.split(".")
    with pytest.raises(InvalidToken):
        identity.tokens.verify_access(f"{head}.{body}.{_flip(signature, 5)}")


@pytest.mark.proves("2.3.3")
async def test_a_session_ends_after_seven_idle_days_and_after_ninety_in_any_case(identity: Identity) -> None:
    email, _ = await identity.person()
    kept = await identity.sign_in(email)
    _set(identity, kept, "idle_expires_at = idle_expires_at - interval '6 days 23 hours'")
    assert await _is_alive(identity, kept)
    kept = await _refresh(identity, kept)
    _set(identity, kept, "idle_expires_at = idle_expires_at - interval '6 days 23 hours'")
    assert await _is_alive(identity, kept)
    idle = await identity.sign_in(email)
    _set(identity, idle, "idle_expires_at = idle_expires_at - interval '7 days 1 minute'")
    old = await identity.sign_in(email)
    _set(identity, old, "absolute_expires_at = absolute_expires_at - interval '90 days 1 minute'")
    for ended in (idle, old):
        assert not await _is_alive(identity, ended)
        with pytest.raises(SessionEnded):
            await _refresh(identity, ended)


async def test_the_former_access_secret_opens_nothing_after_the_grace(identity: Identity) -> None:
    email, _ = await identity.person()
    first = await identity.sign_in(email)
    second = await _refresh(identity, first)
    _set(identity, first, "rotated_at = rotated_at - interval '11 seconds'")
    assert not await _is_alive(identity, first)
    assert await _is_alive(identity, second)


async def test_a_person_sees_their_sessions_and_ends_them(identity: Identity) -> None:
    email, _ = await identity.person()
    stranger_email, _ = await identity.person()
    stranger = await identity.sign_in(stranger_email)
    here, there, elsewhere = [await identity.sign_in(email) for _ in range(3)]
    with pytest.raises(WrongCredentials):
        await identity.sign_in(email, "wrong password")
    async with open_person_scope(identity.pools.web, identity.secret_of(here), Origin()) as scope:
        listed = await list_sessions(scope)
        assert {session.id for session in listed} == {here.session_id, there.session_id, elsewhere.session_id}
        assert [session.id for session in listed if session.present] == [here.session_id]
        assert listed[0].device == "Firefox on Linux"
        await end_session(scope, there.session_id)
        for not_theirs in (stranger.session_id, there.session_id, SessionId(UUID(int=0))):
            with pytest.raises(NoSuchSession):
                await end_session(scope, not_theirs)
        assert [entry.succeeded for entry in await list_sign_ins(scope)] == [False, True, True, True]
    assert not await _is_alive(identity, there)
    async with open_person_scope(identity.pools.web, identity.secret_of(here), Origin()) as scope:
        assert await end_other_sessions(scope) == 1
    assert await _is_alive(identity, here)
    assert not await _is_alive(identity, elsewhere)
    assert await _is_alive(identity, stranger)


async def test_a_sign_in_from_a_new_device_is_mailed_and_a_known_one_is_not(identity: Identity) -> None:
    email, _ = await identity.person()
    first = await identity.sign_in(email)
    again = await identity.sign_in(email, device=first.device_secret)
    assert again.device_secret == first.device_secret
    assert "new_device" not in identity.mails(email)
    planted = await identity.sign_in(email, device="<script>")
    assert planted.device_secret != "<script>"
    assert identity.mails(email)[-1] == "new_device"


@pytest.mark.parametrize("how", ["the owner ends its session", "the password changes", "signed out, then it changes"])
async def test_a_device_that_was_shut_out_is_told_of_as_a_new_one(identity: Identity, how: str) -> None:
    email, _ = await identity.person()
    mine, password = await identity.sign_in(email), PASSWORD
    other = await identity.sign_in(email, device=new_secret())
    if how == "the owner ends its session":
        async with open_person_scope(identity.pools.web, identity.secret_of(mine), Origin()) as scope:
            await end_session(scope, other.session_id)
    else:
        if how == "signed out, then it changes":
            await identity.sessions.sign_out(identity.secret_of(other))
        password = "five wooden ladders lean"
        await identity.accounts.change_password(identity.secret_of(mine), PASSWORD, password)
    mailed = identity.mails(email).count("new_device")
    await identity.sign_in(email, password, device=mine.device_secret)
    assert identity.mails(email).count("new_device") == mailed
    await identity.sign_in(email, password, device=other.device_secret)
    assert identity.mails(email).count("new_device") == mailed + 1


async def test_a_device_that_was_signed_out_is_no_new_one(identity: Identity) -> None:
    email, _ = await identity.person()
    await identity.sign_in(email)
    other = await identity.sign_in(email, device=new_secret())
    await identity.sessions.sign_out(identity.secret_of(other))
    await identity.sign_in(email, device=other.device_secret)
    assert identity.mails(email).count("new_device") == 1


@pytest.mark.proves("2.1.1")
async def test_a_hash_of_a_lower_cost_is_renewed_at_sign_in_to_bcrypt_of_cost_12(identity: Identity) -> None:
    pepper = secrets.token_bytes(32)
    modest, full = PasswordHasher({1: pepper}, cost=4, workers=1), PasswordHasher({1: pepper}, workers=1)
    email, person = await identity.person()
    try:
        weak = await modest.hash(PASSWORD)
        identity.owner.execute("UPDATE identity.passwords SET hash = %s WHERE person_id = %s", (weak.value, person))
        sessions = Sessions(identity.pools.signin, full, identity.tokens, secrets.token_bytes(32))
        before = await sessions.sign_in(email, PASSWORD, device_secret=None, user_agent="x", address="192.0.2.7")
        stored = identity.rows("SELECT hash FROM identity.passwords WHERE person_id = %s", person)[0]["hash"]
        assert stored.startswith("$2b$12$")
        assert isinstance(before, SignedIn)
        assert await _is_alive(identity, before)
        await sessions.sign_in(email, PASSWORD, device_secret=None, user_agent="x", address="192.0.2.7")
        unchanged = identity.rows("SELECT hash FROM identity.passwords WHERE person_id = %s", person)[0]["hash"]
        assert unchanged == stored
    finally:
        await modest.close()
        await full.close()


async def test_a_disabled_account_neither_signs_in_nor_stays(identity: Identity) -> None:
    email, person = await identity.person()
    signed_in = await identity.sign_in(email)
    identity.owner.execute("UPDATE identity.people SET disabled_at = now() WHERE id = %s", (person,))
    assert not await _is_alive(identity, signed_in)
    with pytest.raises(WrongCredentials):
        await identity.sign_in(email)


class _CountingHasher(PasswordHasher):
    """Counts the checks that are really done."""

    def __init__(self, inner: PasswordHasher) -> None:
        super().__init__({1: secrets.token_bytes(32)}, cost=4)
        self._inner = inner
        self.verified = 0

    async def verify(self, password: str, stored: PasswordHash | None) -> Verification:
        self.verified += 1
        return await self._inner.verify(password, stored)


def _flip(code: str, place: int) -> str:
    other = "A" if code[place] != "A" else "B"
    return code[:place] + other + code[place + 1 :]
