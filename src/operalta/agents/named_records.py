"""The company's own records that a person's message names: entries of the memory and metrics, for the gateway.

Read for a call that takes one, as they stood when the message was written: what comes later can take trust away, never
add any. An entry that an agent wrote by itself may have its
title from anywhere, so it counts as brought in from outside; one that a person recorded, or approved, is first-party.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from operalta.access.rules import Permission
from operalta.agents import store
from operalta.agents.gateway import Gateway
from operalta.agents.literals import ascii_fold
from operalta.agents.provenance import Origin
from operalta.agents.quoting import COMMON_WORDS
from operalta.agents.records import Collection, Record
from operalta.agents.registry import ToolDeclaration, UnknownTool
from operalta.db.permission import holds
from operalta.db.scope import Row, Scope
from operalta.workspace.memory import service as memory
from operalta.workspace.metrics import service as metrics

_PEOPLE, _NOBODY = "people", "nobody"
MEMORY = Collection("memory", reference="id", identity="title", owner="written_by")
METRICS = Collection("metrics", reference="slug", identity="name", outsiders_write=False)


async def gateway_for(scope: Scope, run: Row, prompt: str, tool: ToolDeclaration | UnknownTool) -> Gateway:
    """Return the gateway of a call: it knows the records of the collections that the call's tool takes from.

    None for words that did not come from a session of the person's own: those name nothing.
    """
    if isinstance(tool, UnknownTool) or not tool.bindings.takes or run["origin"] != Origin.SESSION:
        return Gateway((), {})
    takes = frozenset(tool.bindings.takes.values())
    # A run that tries again is made later than what was typed.
    typed = await store.message(scope, run["message_id"])
    if typed is None:
        return Gateway((), {})
    before, unnamed = typed["created_at"], COMMON_WORDS | tool.verbs
    known: Mapping[str, Sequence[Record]] = {
        MEMORY.name: await _entries(scope, prompt, before) if MEMORY.name in takes else (),
        METRICS.name: await _metrics(scope, before, unnamed) if METRICS.name in takes else (),
    }
    return Gateway((MEMORY, METRICS), known, own=frozenset({_PEOPLE}))


async def _entries(scope: Scope, prompt: str, before: datetime) -> list[Record]:
    if not holds(scope, Permission.MEMORY_READ):
        return []
    named = await memory.entries_named(scope, prompt, before)
    return [
        {
            MEMORY.reference: str(one.id),
            MEMORY.identity: one.title,
            # One that has been superseded since is not meant any more, but makes its title mean two.
            "written_by": _PEOPLE if one.is_by_people and one.holds else _NOBODY,
        }
        for one in named
    ]


async def _metrics(scope: Scope, before: datetime, unnamed: frozenset[str]) -> list[Record]:
    if not holds(scope, Permission.METRICS_READ):
        return []
    # Only people define metrics. Each goes by its name, and by its short name, but not by a word of any sentence.
    return [
        {METRICS.reference: one.slug, METRICS.identity: name}
        for one in await metrics.list_metrics(scope)
        if one.created_at < before
        for folded, name in {ascii_fold(one.slug): one.slug, ascii_fold(one.name): one.name}.items()
        if folded not in unnamed
    ]
