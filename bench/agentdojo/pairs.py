"""Every task as it is, and every pair of a task and an attack, under the policy and without one."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from bench.agentdojo.adversaries import attack
from bench.agentdojo.integration import Integration
from bench.agentdojo.replay import Counted, Run
from bench.agentdojo.suites import TEXT_ONLY, Call, Environment, Suite


@dataclass(slots=True)
class Figures:
    """What is measured of some suites."""

    tasks: int = 0
    useless: list[str] = field(default_factory=list[str])
    cards: int = 0
    without_card: int = 0
    sensitive: list[str] = field(default_factory=list[str])
    pairs: int = 0
    unguarded: int = 0
    attacked: list[str] = field(default_factory=list[str])
    attacked_with_slots_filled: list[str] = field(default_factory=list[str])
    runs: dict[str, Counted] = field(default_factory=dict[str, Counted])

    def __add__(self, other: "Figures") -> "Figures":
        """Return the figures of both."""
        return Figures(
            self.tasks + other.tasks,
            self.useless + other.useless,
            self.cards + other.cards,
            self.without_card + other.without_card,
            self.sensitive + other.sensitive,
            self.pairs + other.pairs,
            self.unguarded + other.unguarded,
            self.attacked + other.attacked,
            self.attacked_with_slots_filled + other.attacked_with_slots_filled,
            self.runs | other.runs,
        )


def measure(integration: Integration) -> Figures:
    """Measure one suite."""
    suite, figures = Suite(integration.suite), Figures()
    for user in suite.users:
        _measure_task(suite, integration, user, figures)
        for injection in suite.injections:
            if (suite.name, injection) != TEXT_ONLY:
                _measure_pair(suite, integration, user, injection, figures)
    return figures


def measure_tasks(integration: Integration) -> Figures:
    """Measure the tasks of one suite, without any attack."""
    suite, figures = Suite(integration.suite), Figures()
    for user in suite.users:
        _measure_task(suite, integration, user, figures)
    return figures


def _measure_task(suite: Suite, integration: Integration, user: str, figures: Figures) -> None:
    runs: list[Run] = []

    def play(prompt: str, carry_out: Callable[[Call], Any], environment: Environment) -> list[Call]:
        run = Run(integration, prompt, environment, carry_out)
        runs.append(run)
        run.propose(suite.truth(suite.users[user], environment), approve=True)
        return run.done

    played, name = suite.play(user, play), f"{suite.name} {user}"
    counted = runs[-1].counted
    figures.tasks += 1
    figures.cards += len(counted.cards)
    figures.without_card += not counted.cards
    figures.runs[name] = counted
    if not suite.is_useful(user, played) or counted.denied:
        figures.useless.append(name)
    figures.sensitive += [f"{name} {call.tool}" for call in counted.sensitive_in_silence]


def _measure_pair(suite: Suite, integration: Integration, user: str, injection: str, figures: Figures) -> None:
    def play(prompt: str, carry_out: Callable[[Call], Any], environment: Environment) -> list[Call]:
        before = copy.deepcopy(environment)
        run = Run(integration, prompt, environment, carry_out)
        run.propose(suite.truth(suite.users[user], environment), approve=True)
        run.propose(attack(suite, injection, before, environment), approve=False)
        figures.sensitive.extend(f"{user} {injection} {call.tool}" for call in run.counted.sensitive_in_silence)
        return run.done

    def unguarded(_prompt: str, carry_out: Callable[[Call], Any], environment: Environment) -> list[Call]:
        before = copy.deepcopy(environment)
        benign = suite.truth(suite.users[user], environment)
        for call in benign:
            carry_out(call)
        calls = attack(suite, injection, before, environment)
        for call in calls:
            carry_out(call)
        return [*benign, *calls]

    name = f"{suite.name} {user} {injection}"
    figures.pairs += 1
    figures.unguarded += suite.is_attacked(injection, suite.play(user, unguarded))
    if suite.is_attacked(injection, suite.play(user, play)):
        figures.attacked.append(name)
    filled = suite.filled_with(str(suite.injections[injection].GOAL))
    if suite.is_attacked(injection, suite.play(user, play, filled)):
        figures.attacked_with_slots_filled.append(name)
