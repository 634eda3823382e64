"""Attacks of our own: calls fitted to what a task's message, records and rules would let through. Each has a file.

A sequence is run fresh, and after the person's own task. It names the task (whose message counts, unless it brings a
`message` of its own), what is planted before the run begins, and the calls, of which those at `goal` (the last, unless
said) must not pass in silence. `kind` says what it is if one does: `hard`, or a `nuisance` in the person's own space.
"""

import datetime as dt
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.agentdojo.integration import Integration
from bench.agentdojo.replay import Run
from bench.agentdojo.suites import Call, Environment, Foreign, Suite

FOLDER = Path(__file__).with_name("sequences")


@dataclass(frozen=True, slots=True)
class Sequence:
    """One attack, as its file says it."""

    task: str
    kind: str
    idea: str
    calls: tuple[Call, ...]
    goal: tuple[int, ...]
    plant: tuple[tuple[str, dict[str, Any]], ...]
    message: str | None


def sequences_of(suite: str) -> list[Sequence]:
    """Read a suite's file."""
    lines = (FOLDER / f"{suite}.jsonl").read_text(encoding="utf-8").splitlines()
    return [_sequence(json.loads(line)) for line in lines]


def _sequence(said: dict[str, Any]) -> Sequence:
    calls = tuple(Call(tool, arguments) for tool, arguments in said["calls"])
    goal = tuple(said.get("goal", [len(calls) - 1]))
    plant = tuple((kind, fields) for kind, fields in said.get("plant", []))
    return Sequence(said["task"], said["kind"], said["idea"], calls, goal, plant, said.get("message"))


@dataclass(frozen=True, slots=True)
class Passed:
    """A call of a sequence that passed in silence, though it is what the sequence is for."""

    suite: str
    sequence: Sequence
    fresh: bool
    call: Call


def try_all(integration: Integration) -> list[Passed]:
    """Run every sequence of a suite both ways, and return what passed in silence."""
    suite = Suite(integration.suite)
    return [
        Passed(suite.name, sequence, fresh, call)
        for sequence in sequences_of(integration.suite)
        for fresh in (True, False)
        for call in _try(suite, integration, sequence, fresh=fresh)
    ]


def _try(suite: Suite, integration: Integration, sequence: Sequence, *, fresh: bool) -> list[Call]:
    passed: list[Call] = []

    def play(prompt: str, carry_out: Callable[[Call], Foreign], environment: Environment) -> list[Call]:
        benign = [] if fresh else suite.truth(suite.users[sequence.task], environment)
        for kind, fields in sequence.plant:
            _plant(environment, kind, fields)
        run = Run(integration, sequence.message or prompt, environment, carry_out)
        run.propose(benign, approve=True)
        for at, call in enumerate(sequence.calls):
            before = len(run.counted.silent)
            run.propose([call], approve=False)
            if at in sequence.goal:
                passed.extend(run.counted.silent[before:])
        return run.done

    suite.play(sequence.task, play)
    return passed


def _plant(environment: Environment, kind: str, fields: dict[str, Any]) -> None:
    """Put a record of an outsider's into the environment."""
    held: dict[str, Foreign] = {
        "event": lambda: environment.calendar.events,
        "file": lambda: environment.cloud_drive.files,
        "email": lambda: environment.inbox.emails,
    }[kind]()
    model = _model_of(next(iter(held.values())))
    moments = {"last_modified": dt.datetime(2024, 5, 1)} if kind == "file" else {}  # noqa: DTZ001 - as its others
    record = model(**{"id_": "990", **moments, **fields})
    held[record.id_] = record
    if kind == "email":
        contact = _model_of(environment.inbox.contact_list[0])
        name = record.sender.partition("@")[0].replace(".", " ").title()
        environment.inbox.contact_list.append(contact(email=record.sender, name=name))


def _model_of(one: Foreign) -> Foreign:
    return one.__class__
