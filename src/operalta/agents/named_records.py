"""The company's own records that a person's message names: entries of the memory and metrics, for the gateway.

Read for a call that takes one, as they stood when the run was made. An entry that an agent wrote by itself may have its
title from anywhere, so it counts as brought in from outside; one that a person recorded, or approved, is first-party.
"""

from collections.abc import Mapping, Sequence

from operalta.access.rules import Permission
from operalta.agents.gateway import Gateway
from operalta.agents.provenance import Origin
from operalta.agents.records import Collection, Record
from operalta.agents.registry import ToolDeclaration, UnknownTool
from operalta.db.permission import holds
from operalta.db.scope import Row, Scope
from operalta.workspace.memory import service as memory
from operalta.workspace.metrics import service as metrics

_PEOPLE, _AGENT = "people", "agent"
MEMORY = Collection("memory", reference="id", identity="title", owner="written_by")
METRICS = Collection("metrics", reference="slug", identity="name", outsiders_write=False)


async def gateway_for(scope: Scope, run: Row, prompt: str, tool: ToolDeclaration | UnknownTool) -> Gateway:
    """Return the gateway of a call: it knows the records of the collections that the call's tool takes from.

    None for words that did not come from a session of the person's own: those name nothing.
    """
    takes = frozenset(tool.bindings.takes.values()) if isinstance(tool, ToolDeclaration) else frozenset[str]()
    if not takes or run["origin"] != Origin.SESSION:
        return Gateway((), {})
    known: Mapping[str, Sequence[Record]] = {
        MEMORY.name: await _entries(scope, run, prompt) if MEMORY.name in takes else (),
        METRICS.name: await _metrics(scope, run) if METRICS.name in takes else (),
    }
    return Gateway((MEMORY, METRICS), known, own=frozenset({_PEOPLE}))


async def _entries(scope: Scope, run: Row, prompt: str) -> list[Record]:
    if not holds(scope, Permission.MEMORY_READ):
        return []
    named = await memory.entries_named(scope, prompt, run["created_at"])
    return [
        {
            MEMORY.reference: str(one.id),
            MEMORY.identity: one.title,
            "written_by": _PEOPLE if one.is_by_people else _AGENT,
        }
        for one in named
    ]


async def _metrics(scope: Scope, run: Row) -> list[Record]:
    if not holds(scope, Permission.METRICS_READ):
        return []
    # Only people define metrics. Each goes by its name, and by its short name.
    return [
        {METRICS.reference: one.slug, METRICS.identity: name}
        for one in await metrics.list_metrics(scope)
        if one.created_at < run["created_at"]
        for name in {one.slug.casefold(): one.slug, one.name.casefold(): one.name}.values()
    ]
