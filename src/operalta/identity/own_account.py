"""What a signed-in person sees of their own account: themselves, their sessions, their sign-ins."""

from dataclasses import dataclass
from datetime import datetime

from operalta.db.errors import SessionEnded
from operalta.db.scope import Scope
from operalta.identity import store
from operalta.identity.errors import NoSuchSession
from operalta.identity.rules import describe_device
from operalta.kernel.actor import ActorKind
from operalta.kernel.errors import NotAllowed
from operalta.kernel.ids import PersonId, SessionId
from operalta.terms.registry import upholds

LONGEST_HISTORY = 100


@dataclass(frozen=True, slots=True)
class OwnAccount:
    """The person of a scope. Times are in UTC."""

    id: PersonId
    email: str
    name: str
    is_operator: bool
    is_staff: bool
    verified_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LiveSession:
    """One of the person's sessions. `device` is what its browser says of itself; `present` marks the asking one."""

    id: SessionId
    device: str
    address: str
    created_at: datetime
    last_seen_at: datetime
    ends_at: datetime
    present: bool


@dataclass(frozen=True, slots=True)
class SignIn:
    """A sign-in, or an attempt that was refused (`succeeded` False)."""

    at: datetime
    succeeded: bool
    device: str
    address: str


async def me(scope: Scope) -> OwnAccount:
    """Return the person of the scope."""
    row = await store.get_person(scope)
    if row is None:
        raise SessionEnded
    return OwnAccount(
        PersonId(row["id"]),
        row["email"],
        row["name"],
        row["is_operator"],
        row["is_staff"],
        row["verified_at"],
        row["created_at"],
    )


async def list_sessions(scope: Scope) -> tuple[LiveSession, ...]:
    """Return the person's live sessions, the one seen last first, at most 100."""
    _require_person(scope)
    return tuple(
        LiveSession(
            id=SessionId(row["id"]),
            device=describe_device(row["user_agent"]),
            address=row["address"],
            created_at=row["created_at"],
            last_seen_at=row["last_seen_at"],
            ends_at=min(row["idle_expires_at"], row["absolute_expires_at"]),
            present=row["id"] == scope.actor.session_id,
        )
        for row in await store.list_sessions(scope)
    )


@upholds("2.3.4")
async def end_session(scope: Scope, session: SessionId) -> None:
    """End one of the person's sessions at once, the present one included. Raise NoSuchSession."""
    _require_person(scope)
    if not await store.end_sessions(scope, session):
        raise NoSuchSession


@upholds("2.3.4")
async def end_other_sessions(scope: Scope) -> int:
    """End all of the person's sessions but the present one, and return how many there were."""
    _require_person(scope)
    return await store.end_sessions(scope, None)


async def list_sign_ins(scope: Scope, *, limit: int = 50) -> tuple[SignIn, ...]:
    """Return the person's latest sign-ins and refused attempts, the newest first, at most 100."""
    _require_person(scope)
    return tuple(
        SignIn(row["at"], row["outcome"] == "succeeded", describe_device(row["user_agent"]), row["address"])
        for row in await store.list_sign_ins(scope, max(1, min(limit, LONGEST_HISTORY)))
    )


async def password_changed_at(scope: Scope) -> datetime | None:
    """Return when the person's password was last set (UTC)."""
    _require_person(scope)
    return await store.password_changed_at(scope)


async def send_verification(scope: Scope) -> bool:
    """Mail the link that verifies the person's address again. False: it is verified already."""
    _require_person(scope)
    return await store.send_verification(scope)


def _require_person(scope: Scope) -> None:
    if scope.actor.kind is not ActorKind.PERSON:
        raise NotAllowed
