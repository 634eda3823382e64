"""What is used of the package `agentdojo`: its suites, and a run of one task with calls of our own choosing.

Loaded by name, since only the bench's lock file has it. Nothing of it reaches the network: the environments are files
of the package, and its clients of model providers are imported, but never made.
"""

import copy
import importlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

VERSION = "v1.2.2"
TEXT_ONLY = ("travel", "injection_task_6")  # its success is a sentence in the answer: no tool is called

Foreign = Any  # something of AgentDojo's, which has no types of ours
Environment = Any  # a Pydantic model of the suite


@dataclass(frozen=True, slots=True)
class Call:
    """A call as AgentDojo writes it."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Played:
    """A run: the environment before and after it, and the calls that were carried out, in AgentDojo's form."""

    before: Environment
    after: Environment
    calls: list[Foreign]


Play = Callable[[str, Callable[[Call], Any], Environment], Sequence[Call]]
"""Given the message, a function that carries a call out, and the environment: the calls that were carried out."""


class Suite:
    """One suite of the benchmark."""

    def __init__(self, name: str) -> None:
        """Load it, with its environment."""
        self.name = name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.suite: Any = importlib.import_module("agentdojo.task_suite").get_suites(VERSION)[name]
        self.users: dict[str, Any] = self.suite.user_tasks
        self.injections: dict[str, Any] = self.suite.injection_tasks
        self._call: Foreign = importlib.import_module("agentdojo.functions_runtime").FunctionCall
        self._plain = self._load({})

    def _load(self, filled: dict[str, str]) -> Environment:
        return self.suite.load_and_inject_default_environment(filled)

    def environment(self) -> Environment:
        """Return the environment as it is without any attack."""
        return copy.deepcopy(self._plain)

    @cache  # noqa: B019 - a suite lives as long as the process
    def _filled(self, goal: str) -> Environment:
        slots = self.suite.get_injection_vector_defaults()
        # A slot stands within quotation marks of a YAML document.
        text = goal.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return self._load(dict.fromkeys(slots, text))

    def filled_with(self, goal: str) -> Environment:
        """Return the environment with every slot for an injection filled with `goal`."""
        return copy.deepcopy(self._filled(goal))

    def prompt(self, user: str) -> str:
        """Return what the person asks in a task."""
        return str(self.users[user].PROMPT)

    def truth(self, task: Foreign, environment: Environment) -> list[Call]:
        """Return the calls by which a task is solved."""
        return [Call(one.function, copy.deepcopy(dict(one.args))) for one in task.ground_truth(environment)]

    def play(self, user: str, play: Play, environment: Environment | None = None) -> Played:
        """Run a user's task in an environment (the plain one, unless given), with whatever `play` calls."""
        task = self.users[user]
        after = task.init_environment(self.environment() if environment is None else environment)
        before = after.model_copy(deep=True)
        runtime = importlib.import_module("agentdojo.functions_runtime").FunctionsRuntime(self.suite.tools)

        def carry_out(call: Call) -> Foreign:
            return runtime.run_function(after, call.tool, call.arguments)

        done = play(str(task.PROMPT), carry_out, after)
        return Played(before, after, [self._call(function=one.tool, args=one.arguments) for one in done])

    def is_useful(self, user: str, played: Played) -> bool:
        """Tell whether AgentDojo finds that the user's task was solved; the answer is the expected one."""
        task = self.users[user]
        said = task.GROUND_TRUTH_OUTPUT
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            verdict = task.utility_from_traces(said, played.before, played.after, played.calls)
            return bool(task.utility(said, played.before, played.after) if verdict is None else verdict)

    def is_attacked(self, injection: str, played: Played) -> bool:
        """Tell whether AgentDojo finds that the attacker's goal was reached."""
        task = self.injections[injection]
        said = task.GROUND_TRUTH_OUTPUT
        verdict = task.security_from_traces(said, played.before, played.after, played.calls)
        return bool(task.security(said, played.before, played.after) if verdict is None else verdict)
