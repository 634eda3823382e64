"""What must hold of the sessions of people, as pure rules, and the operations by which they change.

An operation says what it does to the model, and does the same to the product. Its outcome is a text on both sides.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import permutations
from typing import Protocol
from uuid import UUID

from operalta.db.errors import SessionEnded
from operalta.db.scope import Origin, Scope, open_person_scope
from operalta.identity.errors import NoSuchSession
from operalta.identity.own_account import end_other_sessions, end_session
from operalta.identity.tokens import new_secret
from tests.identity.arranged import IDLE_SECONDS, Arranger, Held
from tests.identity.conftest import Identity

GRACE_SECONDS = 10
PASSWORDS = ("four wooden ladders lean", "seven quiet harbours sing", "nine amber lanterns swing")
OVER = "the session is over"
UNKNOWN = "no such session"
DONE = "done"


@dataclass
class Known:
    """What the model knows of a session."""

    person: int
    absolute_until: int
    step: int = 0
    rotated_at: int = 0
    idle_until: int = IDLE_SECONDS
    ended: bool = False


@dataclass
class Model:
    """Sessions of two people, at a time that moves when it is told to."""

    sessions: list[Known]
    now: int = 0
    password: int = 0

    @property
    def state(self) -> list[tuple[int, bool]]:
        """What the database must hold: of each session its step, and whether it was ended."""
        return [(known.step, known.ended) for known in self.sessions]

    def lives(self, session: int) -> bool:
        known = self.sessions[session]
        return not known.ended and self.now < min(known.idle_until, known.absolute_until)

    def opens(self, session: int, step: int) -> bool:
        """Whether the access secret of this step opens a scope."""
        known = self.sessions[session]
        former = step == known.step - 1 and self.now - known.rotated_at < GRACE_SECONDS
        return self.lives(session) and (step == known.step or former)

    def refresh(self, session: int, step: int, *, foreign: bool) -> str:
        known = self.sessions[session]
        if not self.lives(session):
            return OVER
        if not foreign and step == known.step:
            known.step, known.rotated_at, known.idle_until = step + 1, self.now, self.now + IDLE_SECONDS
            return f"step {step + 1}"
        if not foreign and step == known.step - 1 and self.now - known.rotated_at < GRACE_SECONDS:
            return f"step {step + 1}"
        known.ended = True
        return OVER

    def end(self, sessions: list[int]) -> int:
        open_ones = [self.sessions[each] for each in sessions if not self.sessions[each].ended]
        for known in open_ones:
            known.ended = True
        return len(open_ones)

    def others(self, session: int) -> list[int]:
        person = self.sessions[session].person
        return [each for each, known in enumerate(self.sessions) if known.person == person and each != session]


@dataclass
class Stand:
    """The product's side: the same sessions, with time held still but for what an operation lets pass.

    Around each operation the rows of the sessions are moved by the time that really passed, so what is ten seconds
    old stays ten seconds old however busy the machine is.
    """

    identity: Identity
    arranger: Arranger
    held: list[Held]
    passing: int = 0
    since: datetime | None = None

    def settle(self) -> list[tuple[int, bool]]:
        """Move time, and return of each session its step and whether it was ended."""
        rows = self.identity.rows(
            """
            UPDATE identity.sessions SET
                rotated_at = least(rotated_at + really.passed, statement_timestamp()) - told.passing,
                idle_expires_at = idle_expires_at + really.passed - told.passing,
                absolute_expires_at = absolute_expires_at + really.passed - told.passing
            FROM (SELECT statement_timestamp() - coalesce(%s::timestamptz, statement_timestamp()) AS passed) AS really,
                (SELECT make_interval(secs => %s) AS passing) AS told
            WHERE id = ANY (%s) RETURNING id, counter, ended_at IS NOT NULL AS ended, statement_timestamp() AS now
            """,
            self.since,
            self.passing,
            [held.id for held in self.held],
        )
        self.passing, self.since = 0, rows[0]["now"]
        found: dict[UUID, tuple[int, bool]] = {row["id"]: (row["counter"], row["ended"]) for row in rows}
        return [found[held.id] for held in self.held]

    async def opens(self, session: int, step: int) -> bool:
        return await self.arranger.opens(self.held[session].access_secret(step))

    async def in_scope(self, session: int, step: int, act: Callable[[Scope], Awaitable[object]]) -> str:
        """Open a scope with the access secret of a step, and do something in it."""
        secret = self.held[session].access_secret(step)
        try:
            async with open_person_scope(self.identity.pools.web, secret, Origin()) as scope:
                result = await act(scope)
        except SessionEnded:
            return OVER
        except NoSuchSession:
            return UNKNOWN
        return DONE if result is None else str(result)


class Operation(Protocol):
    """Something that somebody does."""

    def expect(self, model: Model) -> str: ...

    async def perform(self, stand: Stand) -> str: ...


@dataclass(frozen=True)
class Refresh:
    """The refresh token of a step is presented, so often at once; `foreign`: by another device."""

    session: int
    step: int
    foreign: bool = False
    copies: int = 1

    def expect(self, model: Model) -> str:
        given = [model.refresh(self.session, self.step, foreign=self.foreign) for _ in range(self.copies)]
        return ", ".join(sorted(given))

    async def perform(self, stand: Stand) -> str:
        return ", ".join(sorted(await asyncio.gather(*(self._present(stand) for _ in range(self.copies)))))

    async def _present(self, stand: Stand) -> str:
        held = stand.held[self.session]
        device = new_secret() if self.foreign else held.device
        try:
            given = await stand.arranger.sessions.refresh(held.refresh_token(self.step), device)
        except SessionEnded:
            return OVER
        step = int(given.refresh_token.split(".")[1])
        assert given.refresh_token == held.refresh_token(step)
        assert stand.identity.secret_of(given) == held.access_secret(step)
        assert given.person_id == held.person
        return f"step {step}"


@dataclass(frozen=True)
class SignOut:
    """A session is signed out with the access secret of a step."""

    session: int
    step: int

    def expect(self, model: Model) -> str:
        return str(model.opens(self.session, self.step) and model.end([self.session]) == 1)

    async def perform(self, stand: Stand) -> str:
        return str(await stand.arranger.sessions.sign_out(stand.held[self.session].access_secret(self.step)))


@dataclass(frozen=True)
class Revoke:
    """From one session, a certain other one is ended: one's own, or a stranger's."""

    session: int
    step: int
    target: int

    def expect(self, model: Model) -> str:
        if not model.opens(self.session, self.step):
            return OVER
        own = model.sessions[self.session].person == model.sessions[self.target].person
        return DONE if own and model.end([self.target]) else UNKNOWN

    async def perform(self, stand: Stand) -> str:
        return await stand.in_scope(
            self.session, self.step, lambda scope: end_session(scope, stand.held[self.target].id)
        )


@dataclass(frozen=True)
class RevokeOthers:
    """From one session, all the others of the same person are ended."""

    session: int
    step: int

    def expect(self, model: Model) -> str:
        return str(model.end(model.others(self.session))) if model.opens(self.session, self.step) else OVER

    async def perform(self, stand: Stand) -> str:
        return await stand.in_scope(self.session, self.step, end_other_sessions)


@dataclass(frozen=True)
class ChangePassword:
    """In one session of the first person, the password is changed."""

    session: int
    step: int
    present: int

    def expect(self, model: Model) -> str:
        if not model.opens(self.session, self.step):
            return OVER
        model.end(model.others(self.session))
        model.password = self.present + 1
        return DONE

    async def perform(self, stand: Stand) -> str:
        before, after = (PASSWORDS[each % len(PASSWORDS)] for each in (self.present, self.present + 1))
        secret = stand.held[self.session].access_secret(self.step)
        try:
            await stand.arranger.accounts.change_password(secret, before, after)
        except SessionEnded:
            return OVER
        return DONE


@dataclass(frozen=True)
class Wait:
    """Time passes."""

    seconds: int

    def expect(self, model: Model) -> str:
        model.now += self.seconds
        return DONE

    async def perform(self, stand: Stand) -> str:
        stand.passing += self.seconds
        return DONE


@dataclass(frozen=True)
class Race:
    """Several things are done at the same time; what comes out must be what one after the other could bring."""

    parts: tuple[Operation, ...]

    def expect_in(self, model: Model, order: tuple[int, ...]) -> str:
        outcomes = {place: self.parts[place].expect(model) for place in order}
        return " | ".join(outcomes[place] for place in range(len(self.parts)))

    async def perform(self, stand: Stand) -> str:
        return " | ".join(await asyncio.gather(*(part.perform(stand) for part in self.parts)))

    @property
    def orders(self) -> list[tuple[int, ...]]:
        return list(permutations(range(len(self.parts))))
