"""How the making of credentials is observed: by whom it is done, by what ways, and who sees them afterwards."""

import asyncio
import secrets
from typing import Any, cast

from operalta.assurance.probes.credentials import store
from operalta.assurance.probes.credentials.ground import (
    CLIENTS,
    KEYS,
    Program,
    inside,
    make_house,
    make_key,
    register_client,
)
from operalta.assurance.probes.identity import search_files
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Stage, staged
from operalta.settings import DatabaseRole

_CREATED, _NOT_SIGNED_IN, _NOT_ALLOWED, _NOT_FOUND = 201, 401, 403, 404
_BODIES: dict[str, dict[str, Any]] = {
    KEYS: {"name": "x", "scopes": ["memory:read"]},
    CLIENTS: {"provider": "github", "client_id": "x", "client_secret": "x"},
}
_WRITING = frozenset({"post", "put", "patch", "delete"})
_MARKS = ("/api-keys", "/oauth-clients", "/connections", "/integrations", "/webhooks", "/inbound-hooks")


@probe("1.3.1")
async def credentials_come_from_people(context: ProbeContext) -> Observations:
    """Make a credential as everybody, and try every route and the database's own tables as those who may not."""
    stage = staged(context)
    seen = Observations()
    house = await make_house(stage)
    observer = await stage.new_person("Key Observer")
    await stage.invite(house.founder, house.company, observer, "observer")
    here = inside(house.company)
    program = await make_key(stage, house.founder, house.company)
    seen.expect("a member who may makes a key in a session", True, program.key[:3])
    for what, body in _BODIES.items():
        for who, browser, wanted in (
            ("an observer", observer.browser, _NOT_ALLOWED),
            ("somebody of another company", stage.founder.browser, _NOT_FOUND),
            ("a visitor", stage.browser(), _NOT_SIGNED_IN),
        ):
            answer = await browser.post(f"{API}{here}/{what}", {**body, "kind": "company"} if what == KEYS else body)
            seen.expect(f"{who} makes none of the {what}", answer.status == wanted, answer.status)
    await _every_route(stage, seen, house.company, program)
    async with stage.connect(DatabaseRole.WEB) as connection:
        for table in await store.credential_tables(connection):
            refused = await store.writes_refused(connection, table)
            seen.expect(f"no query of the web process writes {table}", refused, refused)
    return seen


async def _every_route(stage: Stage, seen: Observations, company: Company, program: Program) -> None:
    """Call each route that writes credentials without a session, and with a key alone."""
    paths = cast("dict[str, dict[str, Any]]", (await stage.described())["paths"])
    routes = [
        (method, path)
        for path, methods in paths.items()
        for method in methods
        if method in _WRITING and any(mark in path for mark in _MARKS) and "{company}" in path
    ]
    seen.expect("there are routes that write credentials", len(routes) >= len(_BODIES), len(routes))
    passed: list[str] = []
    for method, path in routes:
        address = path.removeprefix("/api/v1").replace("{company}", company.slug)
        for name in ("key_id", "oauth_client_id", "connection_id", "integration_id", "webhook_id", "hook_id"):
            address = address.replace(f"{{{name}}}", "00000000-0000-7000-8000-000000000000")
        bare = await stage.browser().send(method.upper(), f"{API}{address}", json={})
        keyed = await program.ask(address, method.upper(), {})
        if bare.status != _NOT_SIGNED_IN or keyed.status != _NOT_ALLOWED:
            passed.append(f"{method} {path}: {bare.status} {keyed.status}")
    seen.expect("each asks for a session, and takes no key for one", not passed, "; ".join(passed) or len(routes))


@probe("1.3.2")
async def credentials_are_not_shown(context: ProbeContext) -> Observations:
    """Plant a key and the secret of a registration, and look for both wherever people and programs look."""
    stage = staged(context)
    house = await make_house(stage)
    seen = Observations()
    planted = secrets.token_urlsafe(32)
    program = await make_key(stage, house.founder, house.company)
    await register_client(stage, house.founder, house.company, planted)
    hidden = (program.key, program.key[-38:], planted)
    await program.ask(inside(house.company))
    await program.ask(inside(house.company, "audit"))
    here = inside(house.company)
    for path in (
        f"{API}{here}/{KEYS}",
        f"{API}{here}/{CLIENTS}",
        f"{API}{here}/audit?limit=100",
        f"/c/{house.company.slug}/api-keys",
        f"/c/{house.company.slug}/integrations",
        f"/c/{house.company.slug}/audit",
    ):
        answer = await house.founder.browser.get(path)
        whole = answer.body.decode() + str(answer.headers)
        seen.expect(f"{path.partition('?')[0]} shows neither", not any(each in whole for each in hidden), answer.status)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        rows, hits = await store.rows_holding(connection, hidden)
        seen.expect("no row of the database holds one", hits == 0, f"{rows} rows, {hits} hits")
    for name, folder in (
        ("the database's files", stage.deployment.var / "postgres"),
        ("the logs", stage.deployment.var / "log"),
        ("the rate-limit store's data", stage.deployment.var / "valkey"),
        ("the companies' files", stage.settings.workspaces_path),
    ):
        count, hits = await asyncio.to_thread(search_files, folder, [each.encode() for each in hidden])
        seen.expect(f"nor do {name}", hits == 0, f"{count} files, {hits} hits")
    return seen


@probe("7.2.2")
async def credentials_take_protected_ways(context: ProbeContext) -> Observations:
    """Hand in a credential, and look what the browser, the tables and the log have of it afterwards."""
    stage = staged(context)
    house = await make_house(stage)
    seen = Observations()
    planted = secrets.token_urlsafe(32)
    made = await register_client(stage, house.founder, house.company, planted)
    seen.expect("the answer to handing it in does not repeat it", planted not in str(made), sorted(made))
    refused = await stage.outsider.browser.post(f"{API}{inside(house.company, CLIENTS)}", _BODIES[CLIENTS])
    seen.expect("nobody else hands one in", refused.status == _NOT_FOUND, refused.status)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        kept = await store.secrets_kept(connection, house.company.slug, "oauth_client_secret")
        seen.expect("it is kept sealed", bool(kept) and not any(planted.encode() in each for each in kept), len(kept))
        told = await store.events_of(connection, house.company.slug, "secret.kept")
        seen.expect("keeping it is in the company's log", told > 0, told)
    async with stage.connect(DatabaseRole.WEB) as connection:
        seen.expect("no query of the web process reads what is sealed", await store.sealed_is_closed(connection))
    return seen
