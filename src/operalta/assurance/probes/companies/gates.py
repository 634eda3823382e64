"""How the narrow gates are observed: who reaches work with higher rights, what made-up ids do there, its traces."""

import ast
import tomllib
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from operalta.assurance.probes.companies import store
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, fresh_address, staged
from operalta.db.elevated_flows import FLOWS
from operalta.settings import DatabaseRole

_GATE = "operalta.db.elevated"
_SERVING = (DatabaseRole.SIGNIN, DatabaseRole.WEB, DatabaseRole.WORKER, DatabaseRole.DISPATCH)


@probe("2.4.3")
async def scoped_by_default(context: ProbeContext) -> Observations:
    """Read who can obtain an elevated connection: modules by their imports, roles by their rights."""
    stage = staged(context)
    seen = Observations()
    listed = _listed(context.root)
    importing = sorted(_importing(context.root / "src" / "operalta"))
    seen.expect("the modules that may open one are listed", bool(listed), len(listed))
    strangers = [name for name in importing if not any(name == each or name.startswith(f"{each}.") for each in listed)]
    seen.expect("no other module imports it", not strangers, "; ".join(strangers) or len(importing))
    async with stage.connect(DatabaseRole.OWNER) as connection:
        for role in _SERVING:
            held = await store.elevated_functions(connection, role.value)
            seen.expect(f"{role.value} may call none of its functions", not held, ", ".join(held) or 0)
        job = await store.tables_of(connection, DatabaseRole.JOB.value)
        seen.expect("the role behind it reaches no table past them", not job, ", ".join(job) or 0)
    return seen


@probe("2.4.4", alone=True)
async def elevated_flows(context: ProbeContext) -> Observations:
    """Hold the catalogue against the list of flows, call each with an id that nobody has, and look for its traces."""
    stage = staged(context)
    seen = Observations()
    scheduled = {flow.function for flow in FLOWS if flow.scheduled}
    async with stage.connect(DatabaseRole.OWNER) as connection:
        present = set(await store.elevated_functions(connection, None))
        seen.expect("every function that is there is on the list", present == {flow.function for flow in FLOWS})
        callable_by_job = set(await store.elevated_functions(connection, DatabaseRole.JOB.value))
        seen.expect("jobs may call those of jobs alone", callable_by_job == scheduled, len(callable_by_job))
        before = await store.rows_of_all(connection)
        made_up = str(uuid4())
        async with stage.connect(DatabaseRole.JOB) as job:
            said = await store.call_elevated(job, connection, sorted(scheduled), made_up)
        changed = await store.rows_of_all(connection) - before
        answered = sorted(name for name, rows in said.items() if rows)
        seen.expect("with a made-up id none gives anything", not answered, ", ".join(answered) or len(said))
        seen.expect("nor changes anything", changed == 0, changed)
        address = fresh_address()
        body = {"email": address, "role": "observer"}
        await stage.founder.browser.post(f"{API}/companies/{stage.company.slug}/invitations", body)
        await stage.deployment.mailbox.wait_for_link(address, "/invitations/accept")
        traces = await store.traces_of_delivery(connection, address)
        seen.expect("a message that was sent left its event", traces >= 1, traces)
    reasons = all(flow.ids and flow.trail.value for flow in FLOWS)
    seen.expect("each names what validates its ids, and its trace", reasons, len(FLOWS))
    return seen


def _listed(root: Path) -> set[str]:
    """Return the modules that the import contract lets import the gate."""
    document: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    contracts = cast("list[dict[str, Any]]", document["tool"]["importlinter"]["contracts"])
    allowed = [
        contract["allowed_importers"] for contract in contracts if _GATE in contract.get("protected_modules", ())
    ]
    return set(cast("list[str]", allowed[0])) if len(allowed) == 1 else set()


def _importing(source: Path) -> set[str]:
    """Return the modules that import the gate, by what stands in them."""
    found: set[str] = set()
    for path in source.rglob("*.py"):
        name = ".".join(("operalta", *path.relative_to(source).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            direct = isinstance(node, ast.ImportFrom) and node.module == _GATE
            by_room = (
                isinstance(node, ast.ImportFrom)
                and node.module == "operalta.db"
                and any(each.name == "elevated" for each in node.names)
            )
            whole = isinstance(node, ast.Import) and any(each.name == _GATE for each in node.names)
            if direct or by_room or whole:
                found.add(name)
    return found
