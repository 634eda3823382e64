"""A provider of models, as runs of the throw-away deployment meet one: a server elsewhere that says what it is told to.

Each probe has a route to itself, so that it knows who asked: what one tells a route to answer reaches no other run.
"""

import json
import threading
from typing import Any

from operalta.assurance.elsewhere import GOOD, Elsewhere, Reply

REGION = "Where probes look"
APPROVED = ("allowed", "asked", "leaving", "quiet")
"""Routes with a whole approval record."""

WITHOUT_RECORD, WITH_A_GAP = "without-record", "with-a-gap"
"""Routes that the operator has not approved: one that has no record, one whose record leaves training open."""

_ROUTE = """
[[route]]
slug = "{slug}"
title = "Observed: {slug}"
kind = "compatible"
model = "lines"
base_url = "{url}"
local = true
seconds = 20
"""
_RECORD = """
[route.approval]
terms_reference = "Terms of the throw-away deployment"
region = "{region}"
retention = "none"
training_opt_out = {opt_out}
logging = "off"
approved_by = "operalta verify"
approved_on = 2026-01-01
"""


def routes_file(elsewhere: Elsewhere) -> str:
    """Return the operator's file of model routes."""
    named = [*APPROVED, WITHOUT_RECORD, WITH_A_GAP]
    return "".join(
        _ROUTE.format(slug=slug, url=elsewhere.url(GOOD, _base(slug)))
        + ("" if slug == WITHOUT_RECORD else _RECORD.format(region=REGION, opt_out=str(slug != WITH_A_GAP).lower()))
        for slug in named
    )


def place_of(slug: str) -> str:
    """Return the path that a route asks its model at."""
    return f"{_base(slug)}/chat/completions"


def answers(text: str, held: threading.Event | None = None) -> Reply:
    """Return an answer in words, as a provider streams it."""
    return _streamed({"content": text}, "stop", held)


def calls(tool: str, arguments: dict[str, Any], held: threading.Event | None = None) -> Reply:
    """Return an answer that asks for one tool call."""
    function = {"name": tool, "arguments": json.dumps(arguments)}
    return _streamed({"tool_calls": [{"index": 0, "id": "call_1", "function": function}]}, "tool_calls", held)


def _base(slug: str) -> str:
    return f"/models/{slug}/v1"


def _streamed(delta: dict[str, Any], finish: str, held: threading.Event | None) -> Reply:
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta}, {"index": 0, "delta": {}, "finish_reason": finish}]
    lines = [*(json.dumps({"choices": [choice]}) for choice in choices), "[DONE]"]
    return Reply("".join(f"data: {line}\n\n" for line in lines).encode(), "text/event-stream", held=held)
