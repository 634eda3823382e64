"""Rebuilding a run from its events alone: where it stands, what the model has said, which calls are settled."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_ai.messages import ModelRequest, ModelResponse, UserPromptPart

from operalta.agents.context.rules import Piece, as_prompt
from operalta.agents.rules import EventKind, RunUsage
from operalta.agents.steps import CallOutcome, CallResult, History, begin, load_history, open_calls, with_results
from operalta.db.scope import Row

_CARD_ENDS = frozenset(
    {EventKind.MODEL_ANSWERED, EventKind.APPROVAL_DECIDED, EventKind.TOOL_OUTPUT, EventKind.TOOL_RESULT}
)


@dataclass(slots=True)
class RunMemory:
    """A run as its events tell it.

    `turns` are the model's answers in order; `results` what came of each call, by its id; `decided` how the policy
    decided about each call last; `passed` the call keys that passed without a card, and `own_space` the calls that
    passed as own space, both by call id; `context` what it was told beside the message; `open_questions` the calls
    that a person is asked about; `card` the first question of the card that the next one joins, until something comes
    of a call. `usage` counts from the last time that the run was given an allowance, of which there were `continued`
    besides the first. `children_ended` are the runs that it began and was told the end of.
    """

    sequence: int = 0
    turns: list[History] = field(default_factory=list[History])
    results: dict[str, CallResult] = field(default_factory=dict[str, CallResult])
    decided: dict[str, str] = field(default_factory=dict[str, str])
    passed: dict[str, str] = field(default_factory=dict[str, str])
    own_space: set[str] = field(default_factory=set[str])
    open_questions: set[str] = field(default_factory=set[str])
    card: str | None = None
    context: tuple[Piece, ...] = ()
    usage: RunUsage = field(default_factory=RunUsage)
    continued: int = 0
    children_ended: set[str] = field(default_factory=set[str])

    def take(self, kind: EventKind, body: dict[str, Any], sequence: int, worked_ms: int = 0) -> None:
        """Take in one event. `worked_ms`: how long the run was worked on since the one before."""
        self.sequence = sequence
        self.usage = self.usage.plus(RunUsage(active_seconds=worked_ms / 1000))
        self._end_card(kind)
        match kind:
            case EventKind.CONTEXT_GATHERED:
                self.context = tuple(Piece.from_json(each) for each in body.get("pieces", ()))
            case EventKind.MODEL_ANSWERED:
                self.turns.append(load_history(body["message"]))
                self.usage = self.usage.plus(
                    RunUsage(steps=1, tokens=int(body.get("tokens", 0)), cost_micros=int(body.get("cost_micros", 0)))
                )
            case EventKind.CHILD_ENDED:
                self._child_ended(body)
            case EventKind.TOOL_ASKED:
                self.usage = self.usage.plus(RunUsage(tool_calls=1))
            case EventKind.RUN_CONTINUED:
                self.usage, self.continued = RunUsage(), self.continued + 1
            case EventKind.TOOL_DECIDED:
                self._decided(body)
            case EventKind.APPROVAL_ASKED:
                self.open_questions.add(body["call_id"])
                self.card = self.card or body["approval_id"]
            case EventKind.APPROVAL_DECIDED:
                self.open_questions.discard(body["call_id"])
            case EventKind.TOOL_RESULT:
                self.results[body["call_id"]] = CallResult(
                    body["call_id"], body["tool"], CallOutcome(body["outcome"]), body["content"]
                )
            case _:
                pass

    def _end_card(self, kind: EventKind) -> None:
        if kind in _CARD_ENDS:
            self.card = None

    def _child_ended(self, body: dict[str, Any]) -> None:
        used = {name: int(body.get(name, 0)) for name in ("steps", "tool_calls", "tokens", "cost_micros")}
        self.usage = self.usage.plus(RunUsage(**used, active_seconds=float(body.get("active_seconds", 0))))
        self.children_ended.add(body["run_id"])

    def _decided(self, body: dict[str, Any]) -> None:
        call = body["call_id"]
        self.decided[call] = body["decision"]
        self.passed.pop(call, None)
        self.own_space.discard(call)
        if body["decision"] == "allow" and body.get("call_key"):
            self.passed[call] = body["call_key"]
        if "own_space" in body.get("reasons", ()):
            self.own_space.add(call)

    def settled(self, prompt: str) -> History:
        """Return the prompt with the turns whose calls all came to a result, and these: what may stand before more."""
        history = self._going_on(begin(prompt), None)
        return history[:-1] if isinstance(history[-1], ModelResponse) and open_calls(history) else history

    def history(self, prompt: str, instructions: str, earlier: History) -> History:
        """Return the messages for the model: what was said before, the context, the prompt, turns, calls' outcomes."""
        told = as_prompt(self.context)
        before = [*earlier, ModelRequest(parts=[UserPromptPart(told)])] if told else earlier
        return self._going_on(begin(prompt, instructions, before), instructions)

    def _going_on(self, history: History, instructions: str | None) -> History:
        for turn in self.turns:
            history = [*history, *turn]
            asked = open_calls(history)
            if asked and all(call.call_id in self.results for call in asked):
                history = with_results(history, [self.results[call.call_id] for call in asked], instructions)
        return history


def remember(events: Sequence[Row]) -> RunMemory:
    """Return what a run's event rows tell."""
    memory = RunMemory()
    for row in events:
        memory.take(EventKind(row["kind"]), row["body"], row["sequence"], row["worked_ms"])
    return memory


def as_message(text: str) -> str:
    """Return a model's message as it is kept in an event: JSON text without the NUL that PostgreSQL refuses."""
    return json.dumps(json.loads(text)).replace("\\u0000", "")
