"""How the end of credentials is observed: rotated with an overlap, revoked at once, the keys above them exchanged."""

import asyncio
import sys
import time

from operalta.assurance.probes.credentials import store
from operalta.assurance.probes.credentials.ground import (
    KEYS,
    House,
    Program,
    connect_account,
    inside,
    make_house,
    make_key,
    register_client,
    required,
)
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Stage, staged
from operalta.settings import DatabaseRole

REVOKED_WITHIN_SECONDS = 1.0
LEAST_OPENED, PAUSE_SECONDS = 3, 1.5
_OK, _GONE, _NOT_SIGNED_IN = 200, 204, 401


@probe("1.3.4")
async def credentials_rotate_and_end(context: ProbeContext) -> Observations:
    """Rotate and revoke a key while it is used, revoke an account at its provider, exchange root and company keys."""
    stage = staged(context)
    seen = Observations()
    house = await make_house(stage)
    await _rotate_and_revoke(house, seen)
    client = await register_client(stage, house.founder, house.company, "a-secret-to-open-now-and-then")
    await _revoke_at_provider(house, seen, str(client["id"]))
    await _exchange_keys(house, seen, str(client["id"]))
    return seen


async def _rotate_and_revoke(house: House, seen: Observations) -> None:
    stage, founder, here = house.stage, house.founder.browser, inside(house.company)
    old = await make_key(stage, house.founder, house.company)
    path = f"{API}{inside(house.company, KEYS)}/{old.id}"
    turned = required(await founder.post(f"{path}/rotate", {"overlap_hours": 1}), _OK, "rotate a key")
    new = Program(old.id, str(turned["api_key"]), stage.browser())
    both = [(await each.ask(here)).status for each in (old, new)]
    seen.expect("while the overlap lasts, both secrets open", both == [_OK, _OK], both)
    async with stage.connect(DatabaseRole.OWNER) as connection:
        await store.end_overlap(connection, old.id)
    after = [(await each.ask(here)).status for each in (old, new)]
    seen.expect("afterwards the old one does not", after == [_NOT_SIGNED_IN, _OK], after)
    ended = await founder.send("DELETE", path)
    began = time.perf_counter()
    refused = await new.ask(here)
    within = time.perf_counter() - began
    held = ended.status == _GONE and refused.status == _NOT_SIGNED_IN and within < REVOKED_WITHIN_SECONDS
    seen.expect("a revoked key is refused within a second", held, f"{refused.status} after {within:.3f} s")


async def _revoke_at_provider(house: House, seen: Observations, client: str) -> None:
    stage = house.stage
    connection = await connect_account(stage, house.founder, house.company, client)
    seen.expect("an account is connected", bool(connection), connection)
    asked = len(stage.deployment.elsewhere.visits("/issuer/revoke"))
    answer = await house.founder.browser.send("DELETE", f"{API}{inside(house.company, 'connections')}/{connection}")
    seen.expect("its owner revokes it", answer.status == _GONE, answer.status)
    for _ in range(100):
        if len(stage.deployment.elsewhere.visits("/issuer/revoke")) > asked:
            break
        await asyncio.sleep(0.1)
    told = len(stage.deployment.elsewhere.visits("/issuer/revoke")) - asked
    seen.expect("the provider is told to end its tokens", told > 0, told)


async def _exchange_keys(house: House, seen: Observations, client: str) -> None:
    """Exchange the root key and the company's while a sealed secret is opened again and again."""
    stage = house.stage
    opened: list[str] = []
    exchanging = asyncio.create_task(_exchange(stage))
    while not exchanging.done() or len(opened) < LEAST_OPENED:
        # Connecting asks the provider for tokens, and shows it the sealed secret for that.
        opened.append(await connect_account(stage, house.founder, house.company, client))
        await asyncio.sleep(PAUSE_SECONDS)
    ended = await exchanging
    seen.expect("the root key and the companies' keys are exchanged", ended == [0, 0], ended)
    seen.expect("a sealed secret opened each time meanwhile", len(opened) >= LEAST_OPENED, len(opened))
    again = await connect_account(stage, house.founder, house.company, client)
    seen.expect("and opens under the new keys", bool(again))


async def _exchange(stage: Stage) -> list[int]:
    codes: list[int] = []
    for which in ("--root", "--all"):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "operalta",
            "keys",
            "rotate",
            which,
            env=stage.deployment.environment(),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        codes.append(await process.wait())
    return codes
