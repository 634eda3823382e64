"""One run under the policy: every call is decided about as the product would, carried out or not, and counted."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from bench.agentdojo.integration import Integration
from bench.agentdojo.suites import Call, Environment
from operalta.agents.decision_context import DecisionContext, Outcome, PolicyDecision, TargetFacts, ToolSettings
from operalta.agents.gateway import Gateway
from operalta.agents.policy import accept_arguments, call_key, decide, plain_arguments
from operalta.agents.provenance import Origin
from operalta.agents.registry import ToolClass, UnknownTool


@dataclass(slots=True)
class Counted:
    """What a run came to."""

    cards: list[list[Call]] = field(default_factory=list[list[Call]])
    silent: list[Call] = field(default_factory=list[Call])
    denied: list[tuple[Call, PolicyDecision]] = field(default_factory=list[tuple[Call, PolicyDecision]])
    sensitive_in_silence: list[Call] = field(default_factory=list[Call])
    idle: list[Call] = field(default_factory=list[Call])


class Run:
    """A run of one message. Calls that ask and follow on each other were proposed together: they are one card."""

    def __init__(
        self,
        integration: Integration,
        prompt: str,
        environment: Environment,
        carry_out: Callable[[Call], Any],
        origin: Origin = Origin.SESSION,
    ) -> None:
        """Begin: the gateway takes the collections as they are now."""
        self._integration, self._prompt, self._origin, self._carry_out = integration, prompt, origin, carry_out
        self._gateway = Gateway(integration.collections, integration.records(environment), integration.own(environment))
        names = frozenset(tool.name for tool in integration.tools)
        self._settings = ToolSettings(enabled=names, granted=names)
        self._tools = {tool.name: tool for tool in integration.tools}
        self._own_space, self._passed = 0, frozenset[str]()
        self._card_is_open = False
        self.counted = Counted()
        self.done: list[Call] = []

    def decide(self, call: Call) -> PolicyDecision:
        """Return what the policy says about a call, without doing anything."""
        arguments = self._integration.fit(call.tool, call.arguments)
        tool = self._tools.get(call.tool)
        accepted = None if tool is None else accept_arguments(tool, arguments)
        if tool is None or accepted is None:
            return decide(tool or UnknownTool(call.tool), arguments, self._context(TargetFacts()))
        return decide(tool, arguments, self._context(self._gateway.facts(tool, plain_arguments(accepted))))

    def _context(self, facts: TargetFacts) -> DecisionContext:
        return self._gateway.context(
            self._prompt,
            self._origin,
            self._settings,
            facts,
            own_space_calls=self._own_space,
            passed=self._passed,
        )

    def propose(self, calls: Iterable[Call], *, approve: bool) -> None:
        """Have calls decided about, one after the other; those that ask are approved or not."""
        for call in calls:
            self._settle(call, approve=approve)

    def _settle(self, call: Call, *, approve: bool) -> None:
        decision = self.decide(call)
        if decision.outcome is Outcome.DENY:
            self.counted.denied.append((call, decision))
            return
        tool = self._tools[call.tool]
        accepted = accept_arguments(tool, self._integration.fit(call.tool, call.arguments))
        plain = {} if accepted is None else plain_arguments(accepted)
        if decision.outcome is Outcome.ASK and self._gateway.facts(tool, plain).changes_nothing:
            # What is so already need not be done: the gateway says so itself, and the tool is not run.
            self.counted.idle.append(call)
            return
        if decision.outcome is Outcome.ASK:
            if not self._card_is_open:
                self.counted.cards.append([])
            self._card_is_open = True
            self.counted.cards[-1].append(call)
            if not approve:
                return
        else:
            self._card_is_open = False
            if tool.tool_class is not ToolClass.READ:
                self.counted.silent.append(call)
                self._passed |= {call_key(tool, plain)}
                self._own_space += "own_space" in decision.reasons
            if tool.tool_class.is_sensitive:
                self.counted.sensitive_in_silence.append(call)
        answer, _ = self._carry_out(call)
        self.done.append(call)
        if tool.tool_class is not ToolClass.READ:
            self._gateway.note_done(tool, plain)
        if call.tool in self._integration.hears:
            messages: list[Any] = answer or []  # an error's answer is an empty text
            self._gateway.hear(self._integration.hears[call.tool], [one.model_dump() for one in messages])
