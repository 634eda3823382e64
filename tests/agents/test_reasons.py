"""Every reason that the policy can give is told in words."""

import inspect
import re

from operalta.agents import policy
from operalta.agents.reasons import explain, explain_all

FALLBACK = explain("something else")


def test_every_reason_has_a_sentence() -> None:
    source = inspect.getsource(policy)
    calls = re.findall(r"(?:_ask|_allow)\(\"(\w+)\"", source)
    named = re.findall(r"return \"(\w+)\"|\(\"(\w+)\",\)|f\"(\w+):\{name\}", source)
    words = {*calls, *(word for group in named for word in group if word), "company_setting", "agent_setting"}
    assert len(words) >= 25
    assert [word for word in sorted(words) if explain(word) == FALLBACK] == []


def test_an_argument_is_named() -> None:
    assert explain("text_for_others:title").endswith("(title).")


def test_several_reasons_make_one_text_without_repeating() -> None:
    told = explain_all(("sensitive_class", "not_asked_for", "sensitive_class"))
    assert told == f"{explain('sensitive_class')} {explain('not_asked_for')}"
    assert explain_all(()) == "The policy has no rule that allows this."
