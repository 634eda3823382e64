"""How the door of the API is observed: other sites' requests, and input that fits no schema."""

import asyncio
import random
import re
from typing import Any

from operalta.assurance.client import Browser
from operalta.assurance.probes.access import operations
from operalta.assurance.probes.credentials.ground import make_key
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Company, Stage, staged
from operalta.assurance.windows import let_window_pass
from operalta.guard import rules

_FORBIDDEN, _INVALID, _FAULT = 403, 422, 500
_EVIL = "https://evil.example"
_PAGES = (
    "/sign-in",
    "/sign-up",
    "/sign-out",
    "/reset",
    "/companies",
    "/appearance",
    "/invitations/accept",
    "/operator",
    "/second-factor/send",
    "/second-factor/code",
    "/second-factor/authenticator",
    "/second-factor/recovery-code",
    "/step-up",
    "/trust-device",
    "/security/password",
    "/security/factors/phone",
    "/security/factors/authenticator",
    "/security/recovery-codes",
)
_JUNK: tuple[object, ...] = (
    None,
    True,
    -1,
    1e308,
    "",
    "x" * 6_000,
    "\x00\ud7ff\u202e",
    "' OR 1=1 --",
    list[object](),
    {"$ne": None},
    [[["deep"]]],
)
_SEED = 20260131
_ID_IN_PATH = re.compile(r"\{\w+_id\}")


@probe("3.3.2")
async def other_sites_are_kept_out(context: ProbeContext) -> Observations:
    """Send every changing request as another site's page would; ask for cross-origin rights; read the framing rules."""
    stage = staged(context)
    seen = Observations()
    # People and a company of their own: where other sites are let in, these requests end sessions.
    person = await stage.new_person("Framed Person")
    company = (await stage.found(person, "Framed Company", "startup")).slug
    changing = [(m, p) for m, p in await operations(stage, company) if m != "GET"]
    changing += [
        ("POST", page) for page in (*_PAGES, f"/c/{company}/chat", f"/c/{company}/files", f"/c/{company}/memory")
    ]
    browser = person.browser.copy()
    for name, headers in (
        ("with another origin", {"origin": _EVIL}),
        ("with the origin `null`", {"origin": "null"}),
        ("that the browser calls cross-site", {"sec-fetch-site": "cross-site"}),
        ("that the browser calls same-site", {"sec-fetch-site": "same-site"}),
        ("over plain HTTP's origin", {"origin": stage.base_url.replace("https", "http")}),
    ):
        answers = await _send_all(browser.copy(), changing, headers)
        passed = [f"{m} {p}: {a.status}" for (m, p), a in zip(changing, answers, strict=True) if a.status != _FORBIDDEN]
        seen.expect(f"every changing request {name} is refused", not passed, "; ".join(passed[:5]) or len(changing))
    preflight = {"origin": _EVIL, "access-control-request-method": "POST"}
    answers = await _send_all(browser.copy(), [("OPTIONS", p) for _, p in changing], preflight)
    answers += await _send_all(browser.copy(), [("GET", f"{API}/me"), ("GET", "/companies")], {"origin": _EVIL})
    allowing = sum(any(name.startswith("access-control-allow") for name, _ in answer.headers) for answer in answers)
    seen.expect("no answer gives another origin any right", allowing == 0, f"{len(answers)} answers")
    for path in ("/sign-in", f"/c/{company}/memory", f"{API}/me", "/no-such-page"):
        answer = await browser.get(path)
        framed = "frame-ancestors 'none'" in answer.header("content-security-policy")
        both = framed and answer.header("x-frame-options").upper() == "DENY"
        seen.expect(f"{path.replace(company, '…')} cannot be framed", both, answer.status)
        isolated = answer.header("cross-origin-resource-policy") == "same-origin"
        seen.expect(f"{path.replace(company, '…')} is not lent to other origins", isolated, answer.status)
    return seen


@probe("3.4.1")
async def schemas(context: ProbeContext) -> Observations:
    """Read every operation's schema, and send unknown fields and junk to all of them."""
    stage = staged(context)
    seen = Observations()
    described = await stage.described()
    bodies = _bodies(described)
    open_ones = [f"{m} {p}" for m, p, schema in bodies if schema.get("additionalProperties") is not False]
    seen.expect("every body forbids fields that are not known", bool(bodies) and not open_ones, "; ".join(open_ones))
    loose = [place for m, p, schema in bodies for place in _unbounded(described, schema, f"{m} {p}")]
    loose += [
        place
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        for parameter in operation.get("parameters", [])
        for place in _unbounded(described, parameter["schema"], f"{method} {path} {parameter['name']}")
    ]
    seen.expect("every text has a longest length or a form", not loose, "; ".join(loose[:8]) or len(bodies))
    founder = stage.regulars[0]
    company = await stage.found(founder, "Junk Company", "startup")
    key = (await make_key(stage, founder, company, scopes=["agents:run"])).key
    unknown, faults, count = await _send_junk(stage, founder.browser, described, bodies, company, key)
    seen.expect("a field that is not known is refused everywhere", not unknown, "; ".join(unknown[:5]) or len(bodies))
    seen.expect("junk never causes a fault", not faults, "; ".join(faults[:5]) or f"{count} requests")
    return seen


async def _send_junk(
    stage: Stage,
    browser: Browser,
    described: dict[str, Any],
    bodies: list[tuple[str, str, dict[str, Any]]],
    company: Company,
    key: str,
) -> tuple[list[str], list[str], int]:
    """Return where an unknown field was taken, where a fault was answered, and how many requests there were.

    What is for programs alone is sent with the key alone.
    """
    chosen = random.Random(_SEED)  # noqa: S311 - which junk goes where decides nothing
    unknown: list[str] = []
    faults: list[str] = []
    count = 0
    for method, path, schema in bodies:
        if path.endswith(("/auth/password-reset", "/auth/sign-up", "/auth/sign-in")):
            continue  # their limits would answer in their place; other probes send junk to them
        # There are more of these than the limit of sensitive writes lets a person or a company call in a minute.
        await let_window_pass(stage, rules.SENSITIVE_WRITE, browser, company.id)
        filled = path.replace("{company}", company.slug).replace("{slug}", "none").replace("{day}", "2026-01-01")
        filled = _ID_IN_PATH.sub("00000000-0000-7000-8000-000000000000", filled)
        for_programs = path.startswith(f"{API}/openai/")
        headers = {"authorization": f"Bearer {key}"} if for_programs else None
        cookies = dict[str, str]() if for_programs else None
        answer = await browser.send(method, filled, headers=headers, cookies=cookies, json={"unknown_field": 1})
        if answer.status != _INVALID or b"unknown_field" not in answer.body:
            unknown.append(f"{method} {path}: {answer.status}")
        names = list(resolved(described, schema).get("properties", {}))
        junk = [{name: chosen.choice(_JUNK) for name in names} for _ in range(2)] + [chosen.choice(_JUNK)]
        for body in junk:
            answer = await browser.send(method, filled, headers=headers, cookies=cookies, json=body)
            count += 1
            if answer.status >= _FAULT:
                faults.append(f"{method} {path}: {answer.status}")
    return unknown, faults, count


async def _send_all(browser: Browser, wanted: list[tuple[str, str]], headers: dict[str, str]) -> list[Answer]:
    return list(await asyncio.gather(*(browser.send(method, path, headers=headers) for method, path in wanted)))


def _bodies(described: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return method, path and schema of every operation that takes JSON."""
    found: list[tuple[str, str, dict[str, Any]]] = []
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            if "application/json" in content:
                schema = resolved(described, content["application/json"]["schema"])
                found.append((method.upper(), path, schema))
    return found


def resolved(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that a schema refers to, or itself."""
    while "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _unbounded(described: dict[str, Any], schema: dict[str, Any], place: str) -> list[str]:
    """Return the places in a schema where a text, a list or an object could be of any size."""
    schema = resolved(described, schema)
    if "anyOf" in schema:
        return [found for each in schema["anyOf"] for found in _unbounded(described, each, place)]
    match schema.get("type"):
        case "string":
            bounds = {"maxLength", "enum", "const", "pattern", "format"}
            return [] if bounds & schema.keys() else [place]
        case "array":
            inner = _unbounded(described, schema.get("items", {}), f"{place}[]")
            return inner if "maxItems" in schema else [place, *inner]
        case "object":
            properties: dict[str, Any] = schema.get("properties", {})
            return [
                found for name, each in properties.items() for found in _unbounded(described, each, f"{place}.{name}")
            ]
        case _:
            return []
