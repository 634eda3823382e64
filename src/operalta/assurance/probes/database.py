"""How the database's own protection is observed: its catalogue, and what a serving role reaches with SQL of its own."""

import asyncio

import psycopg

from operalta.assurance.forgery import session_secret
from operalta.assurance.probes import store
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Person, Stage, staged
from operalta.db.policy_check import PINNED, Gap, check_policies
from operalta.settings import DatabaseRole

_FEWEST_TABLES = 10
_CALLS = "scope.is_company_member_with_role(company_id"


@probe("2.4.1")
async def tables_carry_policies(context: ProbeContext) -> Observations:
    """Read the catalogue: row security on, forced, and a policy for each verb that a role may use."""
    stage = staged(context)
    seen = Observations()
    async with stage.connect(DatabaseRole.OWNER) as connection:
        tables = await store.company_tables(connection)
    names = {f"{row['nspname']}.{row['relname']}" for row in tables}
    seen.expect("there are tables with companies' data", len(tables) >= _FEWEST_TABLES, len(tables))
    bare = sorted(f"{row['nspname']}.{row['relname']}" for row in tables if not row["guarded"] or not row["policies"])
    seen.expect("row security is on and forced on each, with policies", not bare, ", ".join(bare) or len(tables))
    gaps = [gap for gap in await asyncio.to_thread(_gaps, stage) if gap.place in names]
    told = "; ".join(f"{gap.place}: {gap.fault}" for gap in gaps)
    seen.expect("the policy check finds no gap in them", not gaps, told or "none")
    answer = await stage.outsider.browser.get(f"{API}/companies/{stage.company.slug}/memory")
    seen.expect("the route has a check of its own", answer.status == 404, answer.status)  # noqa: PLR2004 - not found
    return seen


@probe("2.4.2")
async def rows_of_one_company(context: ProbeContext) -> Observations:
    """Try each verb on each table with a member's, an outsider's, nobody's and a made-up scope."""
    stage = staged(context)
    seen = Observations()
    founder = stage.founder
    company = await stage.found(founder, "Guarded Company", "startup")
    await _fill(stage, founder, company)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        tables = [(row["nspname"], row["relname"]) for row in await store.company_tables(connection)]
        filled = [each for each in tables if await store.count_of_company(connection, *each, company.id)]
    seen.expect("the company has rows in many tables", len(filled) >= 6, len(filled))  # noqa: PLR2004 - of _fill
    own = await _reads(stage, founder, company, filled)
    seen.expect("its own founder reads it", any(count not in {"0", "no right"} for count in own.values()), len(own))
    for role in (DatabaseRole.WEB, DatabaseRole.WORKER):
        for name, scope in _scopes(stage).items():
            reached = await _reached(stage, role, company, tables, scope)
            seen.expect(
                f"{role.value} with {name} reaches none of its rows", not reached, "; ".join(reached) or len(tables)
            )
    async with stage.connect(DatabaseRole.WEB) as connection, connection.transaction():
        await store.open_scope(connection, session_secret(stage.outsider.browser), stage.other.slug)
        person = (await stage.outsider.browser.get(f"{API}/me")).json()["id"]
        said = await store.try_record(connection, company.id, person)
    seen.expect("nothing can be added to it from another company", said.startswith("refused"), said)
    return seen


@probe("2.4.5")
async def uncovered_things_are_found(context: ProbeContext) -> Observations:
    """Bring a table, a view and a definer function that nothing covers, and undo them after the policy check."""
    stage = staged(context)
    seen = Observations()
    before, after = await asyncio.to_thread(_gaps_with_novelties, stage)
    for name, place in _NOVELTIES.items():
        new = [gap.fault for gap in after if place in gap.place and gap not in before]
        seen.expect(f"the policy check that migrations run names {name}", bool(new), "; ".join(new) or "nothing said")
    async with stage.connect(DatabaseRole.OWNER) as connection:
        left = [row["relname"] for row in await store.company_tables(connection) if row["relname"] == "verify_novelty"]
    seen.expect("nothing of the trial is left", not left, len(left))
    return seen


@probe("2.5.2")
async def write_policies_call_one_function(context: ProbeContext) -> Observations:
    """Read every write policy and how the function that they call is made."""
    stage = staged(context)
    seen = Observations()
    async with stage.connect(DatabaseRole.OWNER) as connection:
        rules = await store.write_rules(connection)
        function = await store.membership_function(connection)
    silent = [f"{row['place']}.{row['policy']}" for row in rules if not _calls(row)]
    seen.expect("every write policy calls it", bool(rules) and not silent, "; ".join(silent) or len(rules))
    recursive = [row["place"] for row in rules if "memberships" in row["read_rule"] + row["write_rule"]]
    seen.expect("none reads the membership table itself", not recursive, "; ".join(recursive) or len(rules))
    if not seen.expect("the function is there", function is not None) or function is None:
        return seen
    pinned = set(function["pinned"])
    seen.expect("it runs with its owner's rights", function["definer"])
    seen.expect("its search path is empty and nothing can print its plan", set(PINNED) <= pinned, len(pinned))
    seen.expect("not everybody may call it", not function["for_public"])
    return seen


def _calls(row: dict[str, str]) -> bool:
    needed = {"a": ("write_rule",), "w": ("read_rule", "write_rule"), "d": ("read_rule",)}
    return all(_CALLS in row[rule] for rule in needed.get(row["verb"], ("read_rule", "write_rule")))


def _gaps(stage: Stage) -> list[Gap]:
    with psycopg.connect(stage.settings.database_dsn(DatabaseRole.VERIFIER), connect_timeout=10) as connection:
        return check_policies(connection)


_NOVELTIES = {
    "a table without policies": "workspace.verify_novelty",
    "a view with its owner's rights": "workspace.verify_view",
    "a definer function without a pinned path": "verify_function",
}


def _gaps_with_novelties(stage: Stage) -> tuple[list[Gap], list[Gap]]:
    dsn = stage.settings.database_dsn(DatabaseRole.OWNER)
    with psycopg.connect(dsn, connect_timeout=10) as connection:
        before = check_policies(connection)
        store.bring_novelties(connection)
        after = check_policies(connection)
        connection.rollback()
    return before, after


async def _fill(stage: Stage, person: Person, company: Company) -> None:
    base = f"{API}/companies/{company.slug}"
    await person.browser.post(f"{base}/memory", {"kind": "decision", "title": "Guarded entry"})
    await person.browser.post(f"{base}/metrics", {"slug": "guarded", "name": "Guarded metric"})
    await person.browser.post(f"{base}/invitations", {"email": "guarded@people.example", "role": "observer"})
    await stage.say(person, company, "/write notes/guarded.md | guarded text")


def _scopes(stage: Stage) -> dict[str, tuple[str, str]]:
    """Return ways to come to a connection's scope: which way, and its secret or what it says."""
    return {
        "no scope": ("none", ""),
        "an outsider's scope": ("open", session_secret(stage.outsider.browser)),
        "a made-up scope": ("forge", ""),
        "another company's scope with the id exchanged": ("alter", session_secret(stage.outsider.browser)),
    }


async def _reads(stage: Stage, person: Person, company: Company, tables: list[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    async with stage.connect(DatabaseRole.WEB) as connection, connection.transaction():
        await store.open_scope(connection, session_secret(person.browser), company.slug)
        for schema, name in tables:
            found[f"{schema}.{name}"] = await _seen(connection, schema, name, company)
    return found


async def _seen(connection: store.Probed, schema: str, name: str, company: Company) -> str:
    try:
        async with connection.transaction():
            return str(await store.count_of_company(connection, schema, name, company.id))
    except psycopg.errors.InsufficientPrivilege:
        return "no right"


async def _reached(
    stage: Stage, role: DatabaseRole, company: Company, tables: list[tuple[str, str]], scope: tuple[str, str]
) -> list[str]:
    """Return every verb and table by which a row of the company was reached."""
    way, secret = scope
    reached: list[str] = []
    async with stage.connect(role) as connection, connection.transaction(force_rollback=True):
        if way in {"open", "alter"} and role is DatabaseRole.WEB:
            await store.open_scope(connection, secret, stage.other.slug)
        if way == "alter":
            says = await store.current_scope(connection)
            await store.forge_scope(connection, says.replace(stage.other.id, company.id))
        if way == "forge":
            await store.forge_scope(connection, f"person|{company.id}|{company.id}|startup|founder||||1|1|00")
        for schema, name in tables:
            read = await _seen(connection, schema, name, company)
            changed = await store.try_update(connection, schema, name, company.id)
            removed = await store.try_delete(connection, schema, name, company.id)
            reached += [
                f"{verb} {schema}.{name}: {said}"
                for verb, said in (("SELECT", read), ("UPDATE", changed), ("DELETE", removed))
                if said not in {"0", "no right", "0 rows"} and not said.startswith("refused")
            ]
    return reached
