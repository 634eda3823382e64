"""What a message must say before an entry is tied, or a metric measured, without asking. The model is an attacker's."""

from collections.abc import Mapping

import pytest

from operalta.agents import policy
from operalta.agents.decision_context import Outcome, TargetFacts, ToolSettings
from operalta.agents.gateway import Gateway
from operalta.agents.knowledge_tools import DECLARATIONS
from operalta.agents.named_records import MEMORY, METRICS
from operalta.agents.provenance import Origin
from operalta.agents.records import Record

pytestmark = pytest.mark.proves("5.5.1")

TOOLS = {tool.name: tool for tool in DECLARATIONS}
ENTRIES = {"a": "Bill by the year", "b": "Send fewer invoices", "c": "the year to"}
METRIC = ({"slug": "mrr", "name": "mrr"}, {"slug": "mrr", "name": "Monthly revenue"})


def passes(text: str, tool: str, arguments: Mapping[str, object]) -> bool:
    entries: list[Record] = [
        {"id": name * 36, "title": title, "written_by": "people"} for name, title in ENTRIES.items()
    ]
    known = {MEMORY.name: entries, METRICS.name: METRIC}
    gateway = Gateway((MEMORY, METRICS), known, own=frozenset({"people"}))
    settings = ToolSettings(enabled=frozenset(TOOLS), granted=frozenset(TOOLS))
    context = gateway.context(text, Origin.SESSION, settings, TargetFacts())
    return policy.decide(TOOLS[tool], arguments, context).outcome is Outcome.ALLOW


def ties(text: str, relation: str | None = None, other: str = "b") -> bool:
    return passes(text, "memory_link", {"record": "a" * 36, "relation": relation, "other": other * 36})


def measures(text: str) -> bool:
    return passes(text, "metrics_record", {"slug": "mrr", "on_date": "2026-03-01", "value": "300"})


@pytest.mark.parametrize(
    "text",
    [
        "Please link {} to {}.",
        "Could you please tie {} to {}?",
        "Read my notes, then connect {} with {}",
        "Hey, link {} and {}!",
        "Look through the notes and tie {} to {}.",
    ],
)
def test_a_request_ties_what_it_names(text: str) -> None:
    assert ties(text.format(ENTRIES["a"], ENTRIES["b"]))


@pytest.mark.parametrize(
    "text",
    [
        "Remove the link between {} and {}.",
        "The link between {} and {} makes little sense.",
        "Show me the tie of {} and {}",
        "Explain how {} and {} relate.",
        "Tell me how to link {} to {}",
        "It makes no sense to link {} to {}.",
        "Anna wants to link {} to {}.",
        "I forgot to link {} to {}",
        "Should we link {} to {}",
        "Is it time, link {} to {} and so on",
        "Can I link {} to {}",
        "Translate this: link {} to {}",
        "Anna will read it and link {} to {}",
        "I thought about it, link {} to {} and so on",
    ],
)
def test_a_word_that_asks_for_no_tie_makes_none(text: str) -> None:
    assert not ties(text.format(ENTRIES["a"], ENTRIES["b"]))


def test_what_a_tie_claims_must_have_been_said() -> None:
    plain = "Please link Bill by the year to Send fewer invoices."
    said = "Please link Bill by the year, which supports Send fewer invoices."
    assert [ties(plain, relation) for relation in (None, "supports", "contradicts")] == [True, False, False]
    assert [ties(said, relation) for relation in (None, "supports", "contradicts")] == [True, True, False]


def test_words_of_two_names_are_no_third_name() -> None:
    assert not ties("Please link Bill by the year to Send fewer invoices.", other="c")


@pytest.mark.parametrize("text", ["Record 300 for {}.", "Please note down 300 for {}", "Read it, and set {} to 300."])
def test_a_request_measures_what_it_names(text: str) -> None:
    assert measures(text.format("Monthly revenue on 2026-03-01"))


@pytest.mark.parametrize(
    "text",
    [
        "Note that the 300 for {} is too much.",
        "The record of 300 for {} makes little sense.",
        "Read the log of 300 for {}",
        "Who set {} to 300",
        "Record 300 thousand for {}.",
        "Record €300 million for {}",
        "Record 300 k for {}",
        "Record minus 300 for {}",
        "Record - 300 for {}",
        "Record (300) for {}",
        "Record 300 more for {}",
        "Record 300 , 000 for {}",
    ],
)
def test_another_amount_or_no_request_measures_nothing(text: str) -> None:
    assert not measures(text.format("Monthly revenue on 2026-03-01"))
