"""Breaks one point of a process at a time: the one that a file names. `install` runs before anything is wired.

What is raised carries a marker wherever an exception can carry something: in its text, its arguments, its notes, its
cause, and in the variables of the frames that it came through.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import fastapi.routing
import jinja2
import psycopg
import psycopg_pool
from starlette.responses import JSONResponse

from operalta.agents import service as agents
from operalta.delivery import texts
from operalta.guard import rules
from operalta.guard.limiter import Limiter
from operalta.identity import own_account
from operalta.identity.passwords import PasswordHasher
from operalta.identity.tokens import AccessTokens
from operalta.sandbox.egress import EgressDoor
from operalta.workspace.files.file_store import FileStore

CHOICE = "OPERALTA_TESTS_BREAK"
MARKER = "OPERALTA_TESTS_MARKER"
PATCH = "from tests.faults import breaking\nbreaking.install()\n"

Wrapped = Callable[..., Any]


def is_broken(point: str) -> bool:
    return Path(os.environ[CHOICE]).read_text() == point


def fail(point: str, kind: type[Exception] = RuntimeError, *handled: object) -> NoReturn:
    marker = os.environ[MARKER]
    error = kind(f"{marker} broke the {point}", {"marker": marker}, handled)
    error.add_note(f"a note of {marker}")
    raise error from ValueError(f"the cause of {marker}")


def _breaking(point: str, real: Wrapped, kind: type[Exception] = RuntimeError) -> Wrapped:
    """Return a function that raises while `point` is broken, and is the real one at other times."""

    def call(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - whatever the real one takes and gives
        if is_broken(point):
            fail(point, kind, arguments, named)
        return real(*arguments, **named)

    return call


def _render_template(template: jinja2.Template, *arguments: Any, **named: Any) -> str:  # noqa: ANN401 - a template's own
    own = template.name == "pages/error.html"
    if is_broken("every template") or (is_broken("template") and not own):
        fail("template", jinja2.UndefinedError, arguments, named)
    return _real_render_template(template, *arguments, **named)


def _render_json(response: JSONResponse, content: object) -> bytes:
    if is_broken("every encoding"):
        fail("encoding", TypeError, content)
    return _real_render_json(response, content)


async def _me(scope: Any) -> Any:  # noqa: ANN401 - something else than what is promised
    if is_broken("statement"):
        fail("statement", psycopg.OperationalError, scope)
    if is_broken("shape"):
        return {"id": os.environ[MARKER], "email": os.environ[MARKER]}
    return await _real_me(scope)


_real_render_template = jinja2.Template.render
_real_render_json = JSONResponse.render
_real_me = own_account.me


def install() -> None:
    """Put a breaking point into every layer."""
    set_in: tuple[tuple[Any, str, Wrapped], ...] = (
        (jinja2.Template, "render", _render_template),
        (JSONResponse, "render", _render_json),
        (own_account, "me", _breaking("service", _me)),
        (fastapi.routing, "serialize_response", _breaking("encoding", fastapi.routing.serialize_response, TypeError)),
        (agents, "events_after", _breaking("stream", agents.events_after)),
        (rules, "headers", _breaking("headers", rules.headers)),
        (Limiter, "decide", _breaking("limiter", Limiter.decide)),
        (PasswordHasher, "verify", _breaking("hashing", PasswordHasher.verify)),
        (AccessTokens, "verify_access", _breaking("tokens", AccessTokens.verify_access)),
        (FileStore, "read_version", _breaking("disk", FileStore.read_version, OSError)),
        (
            psycopg_pool.AsyncConnectionPool,
            "getconn",
            _breaking("driver", psycopg_pool.AsyncConnectionPool.getconn, psycopg.OperationalError),
        ),
        (EgressDoor, "fetch", _breaking("egress", EgressDoor.fetch)),
        (texts, "render", _breaking("mail", texts.render)),
    )
    for owner, name, broken in set_in:
        setattr(owner, name, broken)
