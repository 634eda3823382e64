"""`@probe("2.2.2")`: which probe watches which clause on the running system, and how one is run.

A probe is an async function that takes a `ProbeContext`, looks, and returns its `Observations`. It never says
"pass" itself.
"""

import asyncio
import inspect
import json
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from psycopg import AsyncConnection

from operalta.assurance.rules import Evidence, Observations, ProbeOutcome, Verdict
from operalta.kernel import clock
from operalta.kernel.errors import Refusal
from operalta.settings import DatabaseRole, Settings
from operalta.terms.clauses import clause
from operalta.terms.registry import CodeReference, upheld

PROBE_SECONDS = 30.0
"""How long one probe may take; all of them together have two minutes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the deployment answered: status, headers (lower-case names, repeats kept) and body."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def every(self, name: str) -> tuple[str, ...]:
        """Return all values of a header, by its lower-case name."""
        return tuple(value for header, value in self.headers if header == name)

    def header(self, name: str) -> str:
        """Return the first value of a header, or nothing."""
        return next(iter(self.every(name)), "")

    def json(self) -> Any:  # noqa: ANN401 - whatever was answered
        """Return the body as JSON. Raise `ValueError` where it is none."""
        return json.loads(self.body)


class ProbeContext(Protocol):
    """What a probe may use of the deployment that it looks at."""

    @property
    def commit(self) -> str:
        """The commit that is running; `unknown` where it cannot be told."""
        ...

    @property
    def live(self) -> bool:
        """Whether people use this deployment: then only harmless probes run."""
        ...

    @property
    def base_url(self) -> str:
        """Where it answers, without a path."""
        ...

    @property
    def root(self) -> Path:
        """Where its code stands, for clauses that are decided by reading it."""
        ...

    @property
    def settings(self) -> Settings:
        """Its configuration."""
        ...

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        json: object = None,
        content: bytes | None = None,
    ) -> Answer:
        """Send one request as a stranger would, follow no redirect, and return the answer."""
        ...

    def connect(self, role: DatabaseRole) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Open a connection to its database as the role."""
        ...


Probe: TypeAlias = Callable[[ProbeContext], Awaitable[Observations]]


@dataclass(frozen=True, slots=True)
class RegisteredProbe:
    """A probe with the clauses it watches.

    `harmless` ones may run against a deployment in use. Those that run `alone` take away what the others need.
    """

    clauses: tuple[str, ...]
    look: Probe
    harmless: bool
    alone: bool = False


class ProbeRegistry:
    """Probes by clause: one at most for each, and none for a clause that the terms do not have."""

    def __init__(self) -> None:
        self._by_clause: dict[str, RegisteredProbe] = {}

    def probe(self, *clauses: str, harmless: bool = False, alone: bool = False) -> Callable[[Probe], Probe]:
        """Register the decorated function as the probe of `clauses`.

        Raises `UnknownClause` for an id that the terms do not have, `ValueError` for no id or a second probe,
        `TypeError` for a function that is not async.
        """
        if not clauses or len(set(clauses)) != len(clauses):
            raise ValueError("A probe names the clauses it watches, each once.")
        for clause_id in clauses:
            clause(clause_id)

        def register(look: Probe) -> Probe:
            if not inspect.iscoroutinefunction(look):
                raise TypeError("A probe is an async function.")
            for clause_id in clauses:
                if clause_id in self._by_clause:
                    raise ValueError(f"Clause {clause_id} has a probe already.")
            registered = RegisteredProbe(clauses, look, harmless, alone)
            self._by_clause.update(dict.fromkeys(clauses, registered))
            return look

        return register

    def all(self) -> dict[str, RegisteredProbe]:
        """Return what has been registered so far, by clause."""
        return dict(sorted(self._by_clause.items()))


REGISTRY = ProbeRegistry()
"""The product's probes: filled by importing the modules below `operalta.assurance` that hold them."""

probe = REGISTRY.probe


async def run_probe(
    registered: RegisteredProbe,
    context: ProbeContext,
    *,
    seconds: float = PROBE_SECONDS,
    code: Mapping[str, tuple[CodeReference, ...]] | None = None,
) -> tuple[Evidence, ...]:
    """Run a probe and return the evidence for each clause it watches. It raises for nothing a probe does.

    `code` tells where each clause is upheld; what `@upholds` registered, unless given.
    """
    references = upheld() if code is None else code
    began, observed_at = time.perf_counter(), clock.now()
    outcome = await _outcome(registered, context, seconds)
    duration = time.perf_counter() - began
    return tuple(
        Evidence(clause_id, outcome, context.commit, observed_at, duration, references.get(clause_id, ()))
        for clause_id in registered.clauses
    )


async def _outcome(registered: RegisteredProbe, context: ProbeContext, seconds: float) -> ProbeOutcome:
    if context.live and not registered.harmless:
        text = "People use this deployment, and the probe would disturb them."
        return ProbeOutcome(Verdict.NOT_RUN, (), text)
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return (await registered.look(context)).outcome()
    except Exception as error:  # noqa: BLE001 - whatever a probe raises is its verdict, never the end of the run
        if limit.expired():
            return ProbeOutcome(Verdict.ERROR, (), f"The probe was not done after {seconds:g} seconds.")
        return ProbeOutcome(Verdict.ERROR, (), f"The probe stopped: {_told_safely(error)}.")


def _told_safely(error: Exception) -> str:
    """Return what happened and where, without the message: it may quote what must not be shown."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    text = f" ({error.public_text.rstrip('.')})" if isinstance(error, Refusal) else ""
    return f"{type(error).__name__}{place}{text}"
