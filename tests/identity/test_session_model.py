"""Random interleavings of all that happens to sessions, against the pure model in `session_model.py`."""

import asyncio
import random
from collections.abc import Generator
from contextlib import contextmanager
from copy import deepcopy

import psycopg
import pytest

from operalta.identity.passwords import PasswordHash
from tests.conftest import Servers
from tests.identity.arranged import DAY_SECONDS, Arranger
from tests.identity.conftest import Identity
from tests.identity.session_model import (
    PASSWORDS,
    ChangePassword,
    Known,
    Model,
    Operation,
    Race,
    Refresh,
    Revoke,
    RevokeOthers,
    SignOut,
    Stand,
    Wait,
)

OWNERS = (0, 0, 0, 1)
"""The sessions of an interleaving by their person: three of one, and one of a stranger."""

LONGEST = (5 * DAY_SECONDS, 10 * DAY_SECONDS, 10 * DAY_SECONDS, 5 * DAY_SECONDS)
"""After how long each of them ends however often it is refreshed: before and after an idle one would."""

STEPS = 10
AT_ONCE = 4
IN_EACH_CHUNK = 500
# No sum of these comes near to ten seconds or to 5, 7 or 10 days, so it does not matter how long a step really takes.
PAUSES = (4, 4, 8, 12, 12, int(3.4 * DAY_SECONDS), int(3.4 * DAY_SECONDS), int(7.3 * DAY_SECONDS))

_SINGLE_WEIGHTS = {"refresh": 30, "sign out": 5, "revoke": 6, "revoke others": 4, "password": 3, "wait": 24, "race": 16}


class DivergedError(AssertionError):
    """The product did something else than the model."""


def _refresh(chance: random.Random, model: Model, session: int, copies: int = 1) -> Refresh:
    """Mostly what honest devices do; now and then an older token, or a stolen one."""
    newest = model.sessions[session].step
    age = min(newest, chance.choices((0, 1, 2, 3), (70, 20, 7, 3))[0])
    foreign = chance.random() < 0.06
    return Refresh(session, newest - age, foreign, copies)


def _single(chance: random.Random, model: Model, kind: str) -> Operation:
    session = chance.randrange(len(OWNERS))
    step = max(0, model.sessions[session].step - chance.choices((0, 1, 2), (80, 15, 5))[0])
    match kind:
        case "refresh":
            return _refresh(chance, model, session, chance.choices((1, 2, 5), (70, 15, 15))[0])
        case "sign out":
            return SignOut(session, step)
        case "revoke":
            return Revoke(session, step, chance.randrange(len(OWNERS)))
        case "revoke others":
            return RevokeOthers(session, step)
        case "password":
            of_first = chance.choice([each for each, person in enumerate(OWNERS) if person == 0])
            return ChangePassword(of_first, model.sessions[of_first].step, model.password)
        case _:
            return Wait(chance.choice(PAUSES))


def _race(chance: random.Random, model: Model) -> Race:
    """Refreshes and sign-outs of one session, with at most one thing that ends other sessions."""
    session = chance.randrange(len(OWNERS))
    parts: list[Operation] = [_refresh(chance, model, session) for _ in range(chance.choice((1, 2, 3)))]
    ending = _single(chance, model, chance.choice(("sign out", "revoke", "revoke others", "password")))
    match ending:
        case SignOut():
            # With a former secret it may begin before a refresh and end the session after it, which harms nobody.
            parts.append(SignOut(ending.session, model.sessions[ending.session].step))
        case Revoke() if ending.session == ending.target:
            # What ends itself while something else ends it may be told either.
            pass
        case ChangePassword() if ending.session == session:
            # It takes as long as hashing does, and may or may not outlast the grace of its own access secret.
            pass
        case _:
            parts.append(ending)
    return Race(tuple(parts))


def _next(chance: random.Random, model: Model) -> Operation | Race:
    kind = chance.choices(tuple(_SINGLE_WEIGHTS), tuple(_SINGLE_WEIGHTS.values()))[0]
    return _race(chance, model) if kind == "race" else _single(chance, model, kind)


def _agree(model: Model, operation: Operation | Race, outcome: str, state: list[tuple[int, bool]]) -> Model | None:
    """Return the model after the operation, in an order that brings what was seen. None: there is no such order."""
    orders = operation.orders if isinstance(operation, Race) else [(0,)]
    for order in orders:
        tried = deepcopy(model)
        expected = operation.expect_in(tried, order) if isinstance(operation, Race) else operation.expect(tried)
        if (expected, tried.state) == (outcome, state):
            return tried
    return None


async def _interleave(identity: Identity, password: PasswordHash, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - a failing interleaving must come again
    arranger = Arranger(identity)
    people = [arranger.person(password) for _ in range(max(OWNERS) + 1)]
    held = [arranger.session(people[each], longest_seconds=most) for each, most in zip(OWNERS, LONGEST, strict=True)]
    stand = Stand(identity, arranger, held)
    model = Model([Known(owner, absolute_until=most) for owner, most in zip(OWNERS, LONGEST, strict=True)])
    done: list[str] = []
    for _ in range(STEPS):
        operation = _next(chance, model)
        stand.settle()
        outcome = await operation.perform(stand)
        state = stand.settle()
        done.append(f"{operation} -> {outcome}; {state}")
        agreed = _agree(model, operation, outcome, state)
        if agreed is None:
            raise DivergedError(_told(seed, model, done))
        model = agreed
        await _look(stand, model, [chance.randrange(len(OWNERS))], seed, done)
    await _look(stand, model, range(len(OWNERS)), seed, done)


async def _look(stand: Stand, model: Model, sessions: list[int] | range, seed: int, done: list[str]) -> None:
    """Try the access secrets of the last three steps of these sessions."""
    for session in sessions:
        newest = model.sessions[session].step
        for step in range(max(0, newest - 2), newest + 1):
            if await stand.opens(session, step) is not model.opens(session, step):
                told = f"the access secret of session {session}, step {step}, should open: {model.opens(session, step)}"
                raise DivergedError(_told(seed, model, [*done, told]))


def _told(seed: int, model: Model, done: list[str]) -> str:
    return "\n".join([f"interleaving {seed} leaves the model at", f"  {model}", "by", *(f"  {each}" for each in done)])


async def _interleave_all(identity: Identity, seeds: range) -> None:
    password = await identity.hasher.hash(PASSWORDS[0])
    waiting = iter(seeds)

    async def work() -> None:
        for seed in waiting:
            await _interleave(identity, password, seed)

    tasks = [asyncio.create_task(work()) for _ in range(AT_ONCE)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.proves("2.3.1", "2.3.3", "2.3.4")
async def test_sessions_do_what_the_model_says_whatever_happens_in_what_order(identity: Identity) -> None:
    await _interleave_all(identity, range(120))


@pytest.mark.soak
@pytest.mark.proves("2.3.1", "2.3.3", "2.3.4")
@pytest.mark.parametrize("chunk", range(20))
async def test_sessions_do_what_the_model_says_in_ten_thousand_interleavings(identity: Identity, chunk: int) -> None:
    first = 1_000_000 + chunk * IN_EACH_CHUNK
    await _interleave_all(identity, range(first, first + IN_EACH_CHUNK))


# ── The model sees what is broken ─────────────────────────────────────────────────────────────────────


@contextmanager
def _changed(servers: Servers, function: str, written: str, instead: str) -> Generator[None]:
    """Change a function of the database by its owner, and change it back."""
    with servers.as_owner() as owner:
        owner.execute("SET ROLE operalta_definer")
        row = owner.execute("SELECT pg_get_functiondef(%s::regproc) AS text", (function,)).fetchone()
        assert row is not None
        assert written in row["text"], "the function no longer says what would be broken"
        _replace(owner, row["text"].replace(written, instead))
        try:
            yield
        finally:
            _replace(owner, row["text"])


def _replace(owner: psycopg.Connection[dict[str, object]], text: str) -> None:
    owner.execute(text.encode())


@pytest.mark.soak
@pytest.mark.parametrize(
    ("function", "written", "instead"),
    [
        ("signin.rotate_session", "interval '10 seconds'", "interval '15 seconds'"),
        ("signin.rotate_session", "interval '10 seconds'", "interval '5 seconds'"),
        ("signin.rotate_session", "held.device_digest = device AND held.refresh_digest", "held.refresh_digest"),
        ("signin.rotate_session", "held.device_digest = device AND held.previous", "held.previous"),
        ("signin.rotate_session", "SET ended_at = now(), ended_reason", "SET ended_reason"),
        ("signin.rotate_session", " FOR UPDATE", ""),
        ("signin.rotate_session", "held.ended_at IS NOT NULL OR", ""),
        ("signin.rotate_session", "held.idle_expires_at <= now() OR", ""),
        ("signin.rotate_session", " OR held.absolute_expires_at <= now()", ""),
        ("signin.rotate_session", "interval '7 days'", "interval '8 days'"),
        ("scope.live_session", "interval '10 seconds'", "interval '15 seconds'"),
        ("scope.live_session", "AND session.idle_expires_at > now()", ""),
        ("scope.live_session", "session.ended_at IS NULL AND", ""),
        ("signin.end_session", "SET ended_at = now(), ", "SET "),
        (
            "identity.end_sessions",
            "person_id = scope.scope_person()",
            "(person_id = scope.scope_person() OR id = which)",
        ),
        ("identity.end_sessions", "AND id <> scope.scope_session()", ""),
        ("identity.replace_password", "AND ended_at IS NULL AND id IS DISTINCT FROM but", "AND false"),
    ],
)
async def test_the_model_sees_a_defence_that_is_broken(
    identity: Identity, servers: Servers, function: str, written: str, instead: str
) -> None:
    with _changed(servers, function, written, instead), pytest.raises(DivergedError):
        await _interleave_all(identity, range(300))
