"""Approvals presented for what they were not given for: altered calls, other runs, and states in which they are void.

What an alteration is tried with is the settlement's own
`use_up`, in a transaction of the run's scope that is rolled back, so that the next one finds the same approval.
"""

import random
import unicodedata
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from operalta.agents import store
from operalta.agents.approvals import rules as approval_rules
from operalta.agents.approvals import service as approvals
from operalta.agents.approvals import store as approval_store
from operalta.agents.canonical import JsonValue
from operalta.agents.definitions import store as definition_store
from operalta.agents.dispatch import Claim
from operalta.agents.errors import ArgumentsNotCanonical
from operalta.agents.journal import Attempt
from operalta.agents.policy import accept_arguments
from operalta.agents.registry import ToolClass, ToolDeclaration
from operalta.agents.settlement import Accepted, use_up
from operalta.agents.steps import ToolCall
from operalta.db.scope import Row, open_run_scope
from operalta.kernel.ids import CompanyId, ConversationId, PersonId, RunId, new_id
from tests.agents.conftest import Desk, Office, calling
from tests.conftest import Member

CONTENT = "Pl\u00e4ne f\u00fcr \ufb01nanzen: 5\u00a0000 \u20ac, \u2460 \u00c5ngstr\u00f6m"
"""A text whose four Unicode forms differ."""


State = tuple[LiteralString, str | None]
"""SQL that makes an approval void, and the value that it takes."""


@dataclass(frozen=True)
class Stand:
    """A run whose question was answered with yes, and its one call as it would be carried out."""

    attempt: Attempt
    approval: Row
    accepted: Accepted


@dataclass(frozen=True)
class Replay:
    """An approval presented once more: in which run, for which call; `state` puts the database where it is void."""

    way: str
    attempt: Attempt
    approval: Row
    accepted: Accepted
    state: State | None = None


async def _answered(desk: Desk, member: Member, approver: Member, path: str) -> tuple[UUID, Row]:
    """Make a run that asks to write `path`, have it approved, and return it with the question."""
    desk.model = calling(("files_write", {"path": path, "content": CONTENT}))
    posted = await desk.say(member, "Put our plans in order.", private=False)
    question = desk.question(posted.run_id)
    async with desk.scope(approver) as scope:
        await approvals.decide_approval(scope, question["id"], "once")
    return posted.run_id, question


@asynccontextmanager
async def standing(desk: Desk, member: Member, path: str, approver: Member | None = None) -> AsyncGenerator[Stand]:
    """Hold the claim of such a run, as the worker that is about to carry the call out."""
    run_id, question = await _answered(desk, member, approver or member, path)
    async with desk.dispatcher.claimed(run_id) as claim:
        assert claim is not None
        attempt = await _attempt(desk, claim)
        async with attempt.scope() as scope:
            approval = await approval_store.approval_of_call(scope, run_id, question["call_id"])
        assert approval is not None
        tool = desk.registry.resolve("files_write")
        assert isinstance(tool, ToolDeclaration)
        yield Stand(attempt, approval, proposed(attempt, tool, question["arguments"], question["call_id"]))


async def _attempt(desk: Desk, claim: Claim) -> Attempt:
    async with open_run_scope(desk.pools.worker, claim.run_id, claim.secret) as scope:
        run = await store.run(scope, claim.run_id)
        assert run is not None
        agent = await definition_store.agent(scope, run["agent_id"])
        assert agent is not None
    return Attempt(desk.pools.worker, desk.registry, desk.files, claim, run, agent, "Put our plans in order.")


def proposed(attempt: Attempt, tool: ToolDeclaration, plain: Mapping[str, JsonValue], call_id: str) -> Accepted:
    """Return a call as the settlement describes it in this run."""
    described = approval_rules.propose(
        tool,
        plain,
        company_id=CompanyId(attempt.run["company_id"]),
        run_id=RunId(attempt.run["id"]),
        conversation_id=ConversationId(attempt.run["conversation_id"]),
        requester_id=PersonId(attempt.run["person_id"]),
    )
    arguments = accept_arguments(tool, plain)
    return Accepted(ToolCall(call_id, tool.name, plain), tool, arguments, dict(plain), described, typed=False)


async def is_accepted(replay: Replay | Stand, *, keep: bool = False) -> bool:
    """Present an approval as the settlement does, and tell whether it would be used. Undone unless `keep`."""
    accepted = False
    async with replay.attempt.scope() as scope:
        try:
            accepted = await use_up(replay.attempt, scope, replay.accepted, replay.approval) is None
        except psycopg.errors.InsufficientPrivilege:
            raise psycopg.Rollback from None
        if not keep:
            raise psycopg.Rollback
    return accepted


# ── The ways ───────────────────────────────────────────────────────────────────────────────────────────

_ADDED = ["\u200b", " ", "\u202e", "x", "\n", "\u0430", "\\", "e\u0301", "\u00a0", "\ufeff", "\u0000"]
_FORMS: list[Callable[[str], str]] = [
    *(lambda text, form=form: unicodedata.normalize(form, text) for form in ("NFD", "NFKC", "NFKD")),
    str.casefold,
    str.swapcase,
    str.upper,
    lambda text: text.replace("a", "\u0430"),
    lambda text: text.replace(" ", "\u2009"),
    lambda text: text.encode("utf-16", "surrogatepass").decode("utf-16-le", "replace"),
]
Arguments = dict[str, JsonValue]
Alter = Callable[[random.Random, Arguments], Arguments]


def _text(chance: random.Random, text: str) -> str:
    at = chance.randrange(len(text) + 1)
    match chance.randrange(4):
        case 0 if at < len(text):
            return text[:at] + text[at + 1 :]
        case 1:
            return text * 2
        case _:
            return text[:at] + chance.choice(_ADDED) + text[at:]


def _argument(chance: random.Random, arguments: Arguments) -> Arguments:
    changed = dict(arguments)
    name = chance.choice(sorted(arguments))
    match chance.randrange(6):
        case 0:
            changed[_text(chance, name)] = changed.pop(name)
        case 1:
            changed[f"more{chance.randrange(10_000)}"] = chance.choice([None, True, 1, "", []])
        case 2:
            del changed[name]
        case 3:
            changed[name] = chance.choice([None, True, 0, 1.5, [arguments[name]], {"value": arguments[name]}])
        case _:
            changed[name] = _text(chance, str(arguments[name]))
    return changed


def _order(chance: random.Random, arguments: Arguments) -> Arguments:
    """The same values in another order: of the arguments, of the words of one, of its letters."""
    match chance.randrange(3):
        case 0:
            names = sorted(arguments)
            return dict(zip(names, [arguments[name] for name in reversed(names)], strict=True))
        case 1:
            words = str(arguments["content"]).split(" ")
            chance.shuffle(words)
            return {**arguments, "content": " ".join(words)}
        case _:
            letters = list(str(arguments["path"]))
            chance.shuffle(letters)
            return {**arguments, "path": "".join(letters)}


def _unicode(chance: random.Random, arguments: Arguments) -> Arguments:
    name = chance.choice(sorted(arguments))
    return {**arguments, name: chance.choice(_FORMS)(str(arguments[name]))}


def _tool(chance: random.Random, tool: ToolDeclaration) -> ToolDeclaration:
    match chance.randrange(5):
        case 0:
            return replace(tool, purpose=_text(chance, tool.purpose))
        case 1:
            return replace(tool, verbs=tool.verbs | {f"word{chance.randrange(1000)}"})
        case 2:
            others = [each for each in ToolClass if each is not tool.tool_class]
            return replace(tool, tool_class=chance.choice(others))
        case 3:
            return replace(tool, reversible=not tool.reversible)
        case _:
            return replace(tool, name=f"{tool.name}_{chance.randrange(1000)}")


_ALTERED: dict[str, Alter] = {"argument": _argument, "order": _order, "Unicode form": _unicode}
_SESSION_ENDS: LiteralString = (
    "UPDATE identity.sessions SET ended_at = now(), ended_reason = %(value)s"
    " WHERE id = (SELECT decided_session FROM agents.approvals WHERE id = %(id)s)"
)
_OF_ANOTHER: LiteralString = (
    "UPDATE agents.approvals AS given SET decided_session = (SELECT id FROM identity.sessions"
    " WHERE person_id <> given.decided_by LIMIT 1) WHERE given.id = %(id)s"
)
_PERSON_DISABLED: LiteralString = (
    "UPDATE identity.people SET disabled_at = now()"
    " WHERE id = (SELECT decided_by FROM agents.approvals WHERE id = %(id)s)"
)
_MEMBER: LiteralString = (
    "UPDATE tenancy.memberships SET role = %(value)s"
    " WHERE person_id = (SELECT decided_by FROM agents.approvals WHERE id = %(id)s)"
)
_MEMBER_LEFT: LiteralString = (
    "UPDATE tenancy.memberships SET ended_at = now()"
    " WHERE person_id = (SELECT decided_by FROM agents.approvals WHERE id = %(id)s)"
)
_MEMBER_CAME_BACK: LiteralString = (
    "UPDATE tenancy.memberships SET created_at = now() + interval '1 hour'"
    " WHERE person_id = (SELECT decided_by FROM agents.approvals WHERE id = %(id)s)"
)
_RULE: LiteralString = (
    "INSERT INTO agents.approval_rules (company_id, tool_class, roles, second_person, changed_by)"
    " SELECT company_id, tool_class, ARRAY[%(value)s], false, requester_id FROM agents.approvals WHERE id = %(id)s"
)
_UNDECIDED: LiteralString = (
    "UPDATE agents.approvals SET decision = NULL, decided_by = NULL, decided_session = NULL WHERE id = %(id)s"
)
_DECIDER: LiteralString = (
    "UPDATE agents.approvals SET decided_by = requester_id, decided_session = gen_random_uuid() WHERE id = %(id)s"
)
STATES: dict[str, tuple[State, ...]] = {
    "session": (
        ("UPDATE agents.approvals SET decided_session = NULL WHERE id = %(id)s", None),
        ("UPDATE agents.approvals SET decided_session = gen_random_uuid() WHERE id = %(id)s", None),
        (_OF_ANOTHER, None),
        (_SESSION_ENDS, "the password changed"),
        (_SESSION_ENDS, "ended by the operator"),
        (_SESSION_ENDS, "ended by its owner"),
        (_SESSION_ENDS, "its refresh token was used twice"),
    ),
    "person": (
        (_DECIDER, None),
        (_PERSON_DISABLED, None),
        (_MEMBER, "investor"),
        (_MEMBER, "observer"),
        (_MEMBER_LEFT, None),
        (_MEMBER_CAME_BACK, None),
        (_RULE, "founder"),
        ("UPDATE agents.approvals SET decision = %(value)s WHERE id = %(id)s", "denied"),
        (_UNDECIDED, None),
    ),
    "expired": (
        ("UPDATE agents.approvals SET expires_at = now() WHERE id = %(id)s", None),
        ("UPDATE agents.approvals SET expires_at = asked_at WHERE id = %(id)s", None),
    ),
    "used": (("UPDATE agents.approvals SET consumed_at = now() WHERE id = %(id)s", None),),
}
"""What is done to the database after the approval was read, each undone after its replay."""


def replays(seed: int, own: Stand, sibling: Stand, others: Mapping[str, Stand], count: int) -> Iterator[Replay]:
    """Yield `count` replays of the approval of `own`, of every way in turn.

    `sibling` is another approved call of the same person; `others` are runs of another run, person and company.
    """
    chance = random.Random(seed)  # noqa: S311 - the same ones each time
    ways = [*_ALTERED, "tool", *others, *STATES]
    plain, call_id = own.accepted.plain, own.accepted.call.call_id
    made = 0
    while made < count:
        way = ways[made % len(ways)]
        replay = Replay(way, own.attempt, own.approval, own.accepted)
        if way in _ALTERED:
            try:
                changed = proposed(own.attempt, own.accepted.tool, _ALTERED[way](chance, plain), call_id)
            except ArgumentsNotCanonical:
                continue
            if changed.plain == plain:
                continue
            replay = _altered(chance, replay, own, changed)
        elif way == "tool":
            changed = proposed(own.attempt, _tool(chance, own.accepted.tool), plain, call_id)
            replay = _altered(chance, replay, own, changed)
        elif way in others:
            replay = _elsewhere(chance, replay, own, chance.choice([others[way], sibling]))
        else:
            replay = replace(replay, state=chance.choice(STATES[way]))
        made += 1
        yield replay


def _altered(chance: random.Random, replay: Replay, own: Stand, changed: Accepted) -> Replay:
    """Present the approval for an altered call; every other time as if that were what had been asked."""
    approval = own.approval
    if chance.randrange(2):
        described = changed.proposed
        approval = {
            **approval,
            "arguments_sha256": described.arguments_sha256,
            "tool": described.tool_name,
            "tool_hash": described.tool_hash,
        }
    # What is shown of a change is the own call's: it is what the digests say that is tried.
    return replace(replay, accepted=replace(changed, arguments=own.accepted.arguments), approval=approval)


def _elsewhere(chance: random.Random, replay: Replay, own: Stand, other: Stand) -> Replay:
    """Present the approval in another run: as it is, with that run's own call, or made to look as if it fitted."""
    match chance.randrange(4):
        case 0:
            return replace(replay, attempt=other.attempt)
        case 1:
            return replace(replay, attempt=other.attempt, accepted=other.accepted)
        case 2:
            forged = {**other.approval, "id": own.approval["id"]}
            return replace(replay, attempt=other.attempt, accepted=other.accepted, approval=forged)
        case _:
            return replace(replay, approval={**own.approval, "id": chance.choice([other.approval["id"], new_id()])})


class Database:
    """The rows that an approval hangs on, put into states as the owner, and back."""

    def __init__(self, owner: psycopg.Connection[Row], approval: UUID) -> None:
        self._owner = owner
        self._approval = approval
        self._saved = self._one("SELECT * FROM agents.approvals WHERE id = %(id)s", {"id": approval})
        facts = {"person": self._saved["decided_by"], "company": self._saved["company_id"]}
        query: LiteralString = (
            "SELECT role, created_at FROM tenancy.memberships WHERE person_id = %(person)s AND company_id = %(company)s"
        )
        self._member = self._one(query, facts)

    def _one(self, query: LiteralString, facts: Mapping[str, Any]) -> Row:
        row = self._owner.execute(query, facts).fetchone()
        assert row is not None
        return row

    def put(self, state: State) -> None:
        """Do to the database what a replay is tried in."""
        query, value = state
        assert self._owner.execute(query, {"id": self._approval, "value": value}).rowcount > 0, state

    def restore(self) -> None:
        """Put everything back, the approval unused."""
        for query in _RESTORE:
            self._owner.execute(query, self._saved | {f"member_{name}": value for name, value in self._member.items()})


_AS_IT_WAS: LiteralString = (
    "UPDATE agents.approvals SET decision = %(decision)s, decided_by = %(decided_by)s, decided_at = %(decided_at)s,"
    " decided_session = %(decided_session)s, expires_at = %(expires_at)s, consumed_at = NULL WHERE id = %(id)s"
)
_MEMBER_AS_BEFORE: LiteralString = (
    "UPDATE tenancy.memberships SET role = %(member_role)s, ended_at = NULL, created_at = %(member_created_at)s"
    " WHERE person_id = %(decided_by)s AND company_id = %(company_id)s"
)
_RESTORE: tuple[LiteralString, ...] = (
    _AS_IT_WAS,
    "UPDATE identity.sessions SET ended_at = NULL, ended_reason = NULL WHERE id = %(decided_session)s",
    "UPDATE identity.people SET disabled_at = NULL WHERE id = %(decided_by)s",
    _MEMBER_AS_BEFORE,
    "DELETE FROM agents.approval_rules WHERE company_id = %(company_id)s",
)


def colleagues(office: Office) -> dict[str, Member]:
    """Return whose runs the approval is tried in besides."""
    return {"run": office.founder, "person": office.colleague, "company": office.stranger}
