"""How the sealing of credentials is observed: who opens them, what the database lets whom see, what the table says."""

import ast
import tomllib
from pathlib import Path
from typing import Any, cast

from operalta.assurance.forgery import session_secret
from operalta.assurance.probes.credentials import store
from operalta.assurance.probes.credentials.ground import make_house, register_client
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import staged
from operalta.settings import DatabaseRole
from operalta.vault.kinds import RULES, Caller, SecretKind

_OPENER, _BYTES = "operalta.vault.opening", "operalta.vault.unsealing.store"
_SERVING = (DatabaseRole.SIGNIN, DatabaseRole.WEB, DatabaseRole.WORKER, DatabaseRole.DISPATCH, DatabaseRole.JOB)


@probe("1.3.3")
async def one_module_opens(context: ProbeContext) -> Observations:
    """Read who may import the opener and who does, ask the database for sealed bytes as everybody, look for traces."""
    stage = staged(context)
    house = await make_house(stage)
    seen = Observations()
    contracts = _protected(context.root)
    source = context.root / "src" / "operalta"
    for module, what in ((_OPENER, "the opener"), (_BYTES, "the function that gives the bytes")):
        allowed = contracts.get(module, set[str]())
        importing = {name for name in _importing(source, module) if not name.startswith(module)}
        strangers = sorted(name for name in importing if not any(_within(name, each) for each in allowed))
        seen.expect(f"{what} has named callers", bool(allowed), len(allowed))
        seen.expect(f"nobody else imports {what}", not strangers, "; ".join(strangers) or len(importing))
    for role in _SERVING:
        async with stage.connect(role) as connection:
            closed = await store.sealed_is_closed(connection)
            seen.expect(f"{role.value} reads no sealed column", closed, closed)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        keys = await store.tables_that_could_hold_keys(connection)
        seen.expect("no table holds a company's key or the root key", not keys, ", ".join(keys) or 0)
        made = await register_client(stage, house.founder, house.company, "a-secret-for-one-look")
        secret = await store.secret_of(connection, str(made["id"]))
    member = session_secret(house.founder.browser), house.company.slug
    async with stage.connect(DatabaseRole.WEB) as connection:
        opened = await store.opened_as_member(connection, *member, secret, Caller.OAUTH_CLIENT.value)
        seen.expect("an opening leaves its event in the same moment, with caller and purpose", opened == 1, opened)
        refused = await store.opened_as_member(connection, *member, secret, Caller.WEBHOOK_SENDER.value)
        seen.expect("the database itself gives nothing to another caller", refused == -1, refused)
    return seen


@probe("1.3.5")
async def every_kind_has_its_rules(context: ProbeContext) -> Observations:
    """Hold the table of kinds against the database's copy, and ask for a secret that has grown too old."""
    stage = staged(context)
    seen = Observations()
    for kind in SecretKind:
        rules = RULES.get(kind)
        whole = rules is not None and bool(rules.openers) and bool(rules.bound) and rules.longest_age.days > 0
        told = f"{rules.longest_age.days} days, {', '.join(sorted(rules.openers))}" if rules else "missing"
        seen.expect(f"{kind} has a category, a key, a place, openers and a longest age", whole, told)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        known = await store.openers_by_kind(connection)
        ours = {kind.value: {caller.value for caller in rules.openers} for kind, rules in RULES.items()}
        seen.expect("the database enforces the same kinds and openers", known == ours, len(known))
        unknown = await store.keeps_unknown_kind(connection, stage.company.slug)
        seen.expect("it keeps no secret of another kind", not unknown, unknown)
    return seen


def _protected(root: Path) -> dict[str, set[str]]:
    """Return the modules that import contracts protect, with who may import each."""
    document: dict[str, Any] = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    contracts = cast("list[dict[str, Any]]", document["tool"]["importlinter"]["contracts"])
    return {
        module: set(cast("list[str]", contract["allowed_importers"]))
        for contract in contracts
        if contract["type"] == "protected"
        for module in cast("list[str]", contract["protected_modules"])
    }


def _importing(source: Path, wanted: str) -> set[str]:
    """Return the modules that import `wanted` or something below it, by what stands in them."""
    found: set[str] = set()
    for path in source.rglob("*.py"):
        name = ".".join(("operalta", *path.relative_to(source).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            modules: list[str] = []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
            elif isinstance(node, ast.Import):
                modules = [each.name for each in node.names]
            if any(_within(module, wanted) for module in modules):
                found.add(name)
    return found


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
