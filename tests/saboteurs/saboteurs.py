"""The saboteurs: each breaks one control of the throw-away deployment, and names exactly the clauses that turn red.

They work from outside: with SQL of the owner or a superuser, or with a launcher that patches a process. The product
itself has nothing that could be switched off.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString, ParamSpec

import psycopg
from psycopg.conninfo import make_conninfo

from operalta.assurance.stage import Stage
from operalta.settings import DatabaseRole
from tests.saboteurs.throw_away import WEB, WORKER, patched

Parameters = ParamSpec("Parameters")
Act = Callable[[Stage], Generator[None]]


@dataclass(frozen=True)
class Saboteur:
    """What it breaks, which clauses turn red by it, and a sample of others that must not."""

    name: str
    reddens: frozenset[str]
    spares: frozenset[str]
    soak: bool
    act: Act


SABOTEURS: list[Saboteur] = []


def saboteur(*reddens: str, spares: tuple[str, ...], soak: bool = False) -> Callable[[Act], Act]:
    """Register a generator that breaks something, yields, and mends it."""

    def register(act: Act) -> Act:
        name = getattr(act, "__name__", "nameless")
        SABOTEURS.append(Saboteur(name, frozenset(reddens), frozenset(spares), soak, act))
        return act

    return register


@contextmanager
def at_work(chosen: Saboteur, stage: Stage) -> Generator[None]:
    """Have a saboteur do its work, and mend it afterwards whatever happens."""
    with contextmanager(chosen.act)(stage):
        yield


def as_owner(stage: Stage, *statements: LiteralString) -> None:
    with psycopg.connect(stage.settings.database_dsn(DatabaseRole.OWNER), autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def replaced(stage: Stage, function: str, *changes: tuple[str, str]) -> Generator[None]:
    """Have one of the database's own functions read otherwise."""
    with psycopg.connect(stage.settings.database_dsn(DatabaseRole.OWNER), autocommit=True) as connection:
        connection.execute("SET ROLE operalta_definer")
        row = connection.execute("SELECT pg_get_functiondef(%s::regprocedure)", (function,)).fetchone()
        assert row is not None, "the function is there"
        changed: str = row[0]
        for before, after in changes:
            assert before in changed, before
            changed = changed.replace(before, after)
        connection.execute(changed.encode())
        try:
            yield
        finally:
            connection.execute(str(row[0]).encode())


def as_superuser(stage: Stage) -> psycopg.Connection[Any]:
    settings = stage.settings
    password = settings.secret("database-postgres").decode()
    address = make_conninfo(host=str(settings.socket_path), user="postgres", password=password, dbname="operalta")
    return psycopg.connect(address, autocommit=True)


# ── In the database ───────────────────────────────────────────────────────────────────────────────────


@saboteur("2.4.0", "2.4.1", "2.4.2", spares=("2.4.5", "2.5.2", "2.5.3", "7.2.3"))
def a_policy_opens_the_memory(stage: Stage) -> Generator[None]:
    as_owner(stage, "CREATE POLICY sabotage ON workspace.records FOR SELECT TO operalta_web USING (true)")
    try:
        yield
    finally:
        as_owner(stage, "DROP POLICY sabotage ON workspace.records")


@saboteur("2.5.2", spares=("2.4.1", "2.4.5", "2.5.3"))
def everybody_may_call_the_membership_function(stage: Stage) -> Generator[None]:
    as_owner(
        stage,
        "SET ROLE operalta_definer",
        "GRANT EXECUTE ON FUNCTION scope.is_company_member_with_role(uuid, text[]) TO PUBLIC",
    )
    try:
        yield
    finally:
        as_owner(
            stage,
            "SET ROLE operalta_definer",
            "REVOKE EXECUTE ON FUNCTION scope.is_company_member_with_role(uuid, text[]) FROM PUBLIC",
        )


@saboteur("2.5.1", "2.5.3", spares=("2.4.1", "2.5.2"), soak=True)
def the_database_gives_observers_more(stage: Stage) -> Generator[None]:
    as_owner(stage, "INSERT INTO access.role_permissions VALUES ('startup', 'observer', 'memory:write')")
    try:
        yield
    finally:
        as_owner(
            stage,
            "DELETE FROM access.role_permissions WHERE company_kind = 'startup' AND role = 'observer'"
            " AND permission = 'memory:write'",
        )


@saboteur("2.5.5", spares=("2.4.1", "2.5.3"))
def a_superuser_edits_the_log(stage: Stage) -> Generator[None]:
    with as_superuser(stage) as connection:
        connection.execute("SET session_replication_role = replica")
        row = connection.execute(
            "UPDATE audit.events AS event SET outcome = 'refused' FROM (SELECT id, outcome FROM audit.events"
            " WHERE leaf_index IS NOT NULL AND outcome = 'succeeded' ORDER BY leaf_index DESC LIMIT 1) AS before"
            " WHERE event.id = before.id RETURNING event.id"
        ).fetchone()
        assert row is not None, "something is sealed by now"
        try:
            yield
        finally:
            connection.execute("UPDATE audit.events SET outcome = 'succeeded' WHERE id = %s", row)


@saboteur("2.4.1", "2.4.2", spares=("2.4.5", "2.5.2", "3.3.2"), soak=True)
def row_security_is_off(stage: Stage) -> Generator[None]:
    as_owner(stage, "ALTER TABLE workspace.metrics DISABLE ROW LEVEL SECURITY")
    try:
        yield
    finally:
        as_owner(stage, "ALTER TABLE workspace.metrics ENABLE ROW LEVEL SECURITY")


# ── In the web process ────────────────────────────────────────────────────────────────────────────────

_COOKIES = """
from operalta.web import cookies
made = cookies.set_cookie
cookies.set_cookie = lambda *given, **named: made(*given, **named).replace({before!r}, {after!r})
"""


@saboteur("2.3.2", spares=("3.3.1", "3.3.2"), soak=True)
def scripts_may_read_cookies(stage: Stage) -> Generator[None]:
    with patched(stage, WEB, _COOKIES.format(before="; HttpOnly", after="")):
        yield


@saboteur("3.3.1", spares=("2.3.2",), soak=True)
def cookies_go_with_every_site(stage: Stage) -> Generator[None]:
    with patched(stage, WEB, _COOKIES.format(before="SameSite=Lax", after="SameSite=None")):
        yield


LIMIT = """
from dataclasses import replace
from operalta.guard import rules
from operalta.guard.rules import Dimension, Limit
found = rules.{rule}
limits = dict(found.limits)
limits[Dimension.IDENTITY] = replace(limits[Dimension.IDENTITY], limit=1000)
rules.{rule} = replace(found, limits=limits)
"""


@saboteur("3.1.2", spares=("2.3.2", "3.3.1"), soak=True)
def password_resets_are_hardly_limited(stage: Stage) -> Generator[None]:
    with patched(stage, WEB, LIMIT.format(rule="PASSWORD_RESET")):
        yield


@saboteur("3.1.5", spares=("3.1.2",), soak=True)
def the_chat_is_hardly_limited(stage: Stage) -> Generator[None]:
    with patched(stage, WEB, LIMIT.format(rule="CHAT")):
        yield


@saboteur("2.1.1", spares=("2.1.2", "7.3.2"), soak=True)
def passwords_are_hashed_cheaply(stage: Stage) -> Generator[None]:
    patch = """
from operalta.identity import passwords
make = passwords.PasswordHasher.__init__
def cheap(self, *given, cost=12, **named):
    make(self, *given, cost=4, **named)
passwords.PasswordHasher.__init__ = cheap
"""
    try:
        with patched(stage, WEB, patch):
            yield
    finally:
        as_owner(
            stage,
            "DELETE FROM identity.passwords WHERE hash LIKE '$2b$04$%'",
            "DELETE FROM identity.pending_sign_ups WHERE hash LIKE '$2b$04$%'",
        )


@saboteur("1.1.2", spares=("1.1.1", "3.3.2"), soak=True)
def browsers_are_not_told_to_come_back_over_https(stage: Stage) -> Generator[None]:
    patch = """
from operalta.web import security
add = security.SecurityLayer._add_headers
def without(self, request, message):
    add(self, request, message)
    message["headers"] = [each for each in message["headers"] if each[0] != b"strict-transport-security"]
security.SecurityLayer._add_headers = without
"""
    with patched(stage, WEB, patch):
        yield


@saboteur("3.3.2", spares=("1.1.1", "2.4.1"), soak=True)
def other_sites_may_act(stage: Stage) -> Generator[None]:
    patch = """
from operalta.web import security
security.SecurityLayer._is_own_origin = lambda self, request: True
"""
    with patched(stage, WEB, patch):
        yield


@saboteur("3.5.1", "4.3.3", spares=("3.1.2",), soak=True)
def limits_fail_open(stage: Stage) -> Generator[None]:
    patch = """
from operalta.guard.errors import LimiterUnavailable
from operalta.guard.limiter import Limiter
admit = Limiter.admit
async def lenient(self, rule, subjects):
    try:
        return await admit(self, rule, subjects)
    except LimiterUnavailable:
        return None
Limiter.admit = lenient
"""
    with patched(stage, WEB, patch):
        yield


# ── In the worker ─────────────────────────────────────────────────────────────────────────────────────


@saboteur("5.5.1", spares=("5.3.3", "5.4.1"), soak=True)
def agents_ask_nobody(stage: Stage) -> Generator[None]:
    patch = """
from operalta.agents import policy
policy._ask = policy._allow
"""
    with patched(stage, WORKER, patch):
        yield
