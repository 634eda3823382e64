"""How faults are observed: what a client is told, and what the log keeps."""

import asyncio
import json
import re
import secrets
from pathlib import Path
from typing import Any

from operalta.assurance.deployment import WEB
from operalta.assurance.probes import store
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Stage, fresh_password, staged
from operalta.settings import PROFILE_FILE, DatabaseRole

_FAULT = 500
_TELLING = re.compile(
    rb'Traceback|File "|\.py\b|psycopg|pydantic|relation \\?"|SELECT |UndefinedTable|operalta_web|site-packages'
)


@probe("7.3.1", alone=True)
async def errors_say_little(context: ProbeContext) -> Observations:
    """Break a table, send what cannot be read, and look in the answers for canaries and for what only we may know."""
    stage = staged(context)
    seen = Observations()
    canary = f"canary-{secrets.token_hex(8)}"
    answers = await _refused(stage, canary) | await _broken(stage, canary)
    for name, answer in answers.items():
        numbered = bool(answer.header("x-request-id"))
        seen.expect(f"{name} is answered with its number", numbered and answer.status >= 400, answer.status)  # noqa: PLR2004
    faults = [name for name, answer in answers.items() if answer.status == _FAULT]
    seen.expect("faults were really caused", len(faults) >= 2, "; ".join(faults))  # noqa: PLR2004 - API and page
    for name, answer in answers.items():
        telling = _TELLING.search(answer.body)
        seen.expect(f"{name}: nothing of how it is built", telling is None, telling[0].decode() if telling else "")
        seen.expect(f"{name}: nothing that was sent or stored", canary.encode() not in answer.body)
    secret_values = await asyncio.to_thread(_secrets, stage)
    leaked = sum(value in answer.body for value in secret_values for answer in answers.values())
    seen.expect("no answer holds a secret of the deployment", leaked == 0, f"{len(secret_values)} secrets")
    return seen


@probe("7.3.3", alone=True)
async def the_log_has_the_diagnosis(context: ProbeContext) -> Observations:
    """Cause a fault and a refusal, and find their lines in the log by the numbers in the answers."""
    stage = staged(context)
    seen = Observations()
    canary = f"canary-{secrets.token_hex(8)}"
    broken = await _broken(stage, canary)
    password = fresh_password()
    sign_in = await stage.browser().post(
        f"{API}/auth/sign-in", {"email": f"{canary}@people.example", "password": password}
    )
    await asyncio.sleep(0.2)
    lines = await asyncio.to_thread(_log, stage.deployment.log_path(WEB))
    fault = next((answer for answer in broken.values() if answer.status == _FAULT), None)
    if not seen.expect("a fault was caused", fault is not None) or fault is None:
        return seen
    number = fault.header("x-request-id")
    seen.expect("the answer tells its number", bool(number) and number.encode() in fault.body, number or "none")
    found = [line for line in lines if number and line.get("request_id") == number]
    diagnosed = [line for line in found if line.get("level") == "error" and line.get("error") and line.get("at")]
    seen.expect("the number in the answer finds what happened, and where", len(diagnosed) == 1, len(found))
    asked = [line for line in found if line.get("event") == "request" and line.get("status") == _FAULT]
    seen.expect("and the request itself", len(asked) == 1, len(asked))
    refused = [line for line in lines if line.get("request_id") == sign_in.header("x-request-id")]
    seen.expect("a refusal is found by its number too", bool(refused), len(refused))
    text = json.dumps(lines)
    kept_out = [name for name, each in (("canary", canary), ("password", password)) if each in text]
    seen.expect("what people typed is not in the log", not kept_out, "; ".join(kept_out) or f"{len(lines)} lines")
    told = str(diagnosed[0].get("error")) if diagnosed else ""
    seen.expect("the client was not told what the log knows", bool(told) and told.encode() not in fault.body, told)
    return seen


async def _refused(stage: Stage, canary: str) -> dict[str, Answer]:
    """Return the answers to what cannot be done or read."""
    founder, company = stage.founder.browser, stage.company.slug
    as_json = {"content-type": "application/json"}
    return {
        "JSON that ends too early": await founder.send(
            "POST", f"{API}/companies", content=f'{{"name": "{canary}'.encode(), headers=as_json
        ),
        "bytes that are no text": await founder.send(
            "POST", f"{API}/companies", content=b'{"name": "\xff\xfe' + canary.encode(), headers=as_json
        ),
        "another type of value": await founder.post(f"{API}/companies", {"name": {"inner": canary}}),
        "an unknown field": await founder.post(f"{API}/companies", {"name": "x", "secret": canary}),
        "an unknown entry": await founder.get(f"{API}/companies/{company}/memory/{canary}"),
        "an unknown page": await founder.get(f"/c/{company}/{canary}"),
        "another company's page": await founder.get(f"/c/{stage.other.slug}/memory?q={canary}"),
        "a cursor of one's own making": await founder.get(f"{API}/companies/{company}/memory?cursor={canary}"),
        "another method": await founder.send("PATCH", f"{API}/companies/{company}?x={canary}"),
        "no session": await stage.browser().get(f"{API}/me?x={canary}"),
    }


async def _broken(stage: Stage, canary: str) -> dict[str, Answer]:
    """Return the answers of an API route and a page whose table has been taken away."""
    founder, company = stage.founder.browser, stage.company.slug
    body = {"slug": "canary", "name": canary, "definition": canary}
    async with stage.connect(DatabaseRole.OWNER) as connection:
        await store.break_metrics(connection)
        try:
            return {
                "a fault in the API": await founder.get(f"{API}/companies/{company}/metrics"),
                "a fault in the API while writing": await founder.post(f"{API}/companies/{company}/metrics", body),
                "a fault on a page": await founder.get(f"/c/{company}/metrics"),
            }
        finally:
            await store.mend_metrics(connection)


def _secrets(stage: Stage) -> list[bytes]:
    """Return the deployment's secrets; what lies beside them, a lock and the profile's name, is none."""
    files = [path for path in stage.settings.secrets_path.iterdir() if path.is_file() and path.name != PROFILE_FILE]
    return [path.read_bytes().strip() for path in files if not path.name.startswith(".")]


def _log(path: Path) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for line in path.read_text(errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except ValueError:
            lines.append({"event": line})
    return lines
