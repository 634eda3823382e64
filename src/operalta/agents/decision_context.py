"""What a decision of the tool policy rests on beside the call, and what it comes to. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from operalta.agents.provenance import PersonWords
from operalta.agents.records import CollectionRecord, Selection


class Outcome(StrEnum):
    """What is to happen with a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class PolicyDecision:
    """The outcome, and the reasons for it as stable words that a page or a log can explain."""

    outcome: Outcome
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """What the gateway itself has found out about a call's target just before it. None: it does not know.

    `is_kept` says of a record that is there already: it is the person's own, nobody else sees it, and what the call
    does to it can be undone.
    """

    is_new: bool | None = None
    is_private: bool | None = None
    changes_nothing: bool = False
    is_kept: bool = False


def _no_outcomes() -> Mapping[str, Outcome]:
    return MappingProxyType({})


def _no_names() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """What the company and the agent are set to, by tool name.

    `enabled` are the tools that the company has switched on, `granted` those of this agent (for a child, of
    all its parents too). `company` and `agent` tighten. `pinned` holds the hash under which a person accepted
    a remote tool; another hash denies.
    """

    enabled: frozenset[str]
    granted: frozenset[str]
    company: Mapping[str, Outcome] = field(default_factory=_no_outcomes)
    agent: Mapping[str, Outcome] = field(default_factory=_no_outcomes)
    pinned: Mapping[str, str] = field(default_factory=_no_names)


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """What a decision rests on beside the call.

    `words` is the message that made this run. `colleagues` are messages that colleagues typed in their own
    sessions and that this run has read (the sender is the platform's word, never an agent's). `directory`
    maps a first-party name to its address, as it stood when the run began; a name that two share is not in
    it. `records` are those of this run, `selections` what was picked by words of the message. `facts` belong to this
    call. `own_space_calls` counts what has passed as own space in this run; `passed` holds the `call_key` of each call
    that passed without a card.
    """

    words: PersonWords
    settings: ToolSettings
    facts: TargetFacts = TargetFacts()
    colleagues: tuple[PersonWords, ...] = ()
    directory: Mapping[str, str] = field(default_factory=_no_names)
    records: tuple[CollectionRecord, ...] = ()
    selections: tuple[Selection, ...] = ()
    own_space_calls: int = 0
    passed: frozenset[str] = frozenset()
