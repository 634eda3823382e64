"""How cookies are observed: every answer that sets one, and whether a token is found anywhere else."""

from operalta.assurance.client import ACCESS, DEVICE, REFRESH, TICKET
from operalta.assurance.registry import Answer, ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Stage, staged


@probe("2.3.2")
async def tokens_in_closed_cookies(context: ProbeContext) -> Observations:
    """Go through a session's life and read each Set-Cookie; look for the tokens in bodies and addresses."""
    stage = staged(context)
    seen = Observations()
    answers, tokens = await _a_session(stage)
    for name, answer in answers.items():
        for line in answer.every("set-cookie"):
            cookie, attributes = _read(line)
            closed = {"httponly", "secure", "path=/"} <= attributes and not any(
                each.startswith("domain=") for each in attributes
            )
            of_this_host = cookie.startswith("__Host-") and any(each.startswith("samesite=") for each in attributes)
            seen.expect(
                f"{name}: {cookie} is HttpOnly, Secure, SameSite and bound to this host", closed and of_this_host
            )
        if answer.every("set-cookie"):
            stored = answer.header("cache-control")
            seen.expect(f"{name}: the answer is not kept by caches", "no-store" in stored, stored)
        leaked = sum(token.encode() in answer.body or token in answer.header("location") for token in tokens)
        seen.expect(f"{name}: no token in the body or the address", leaked == 0, leaked)
    held = {cookie for answer in answers.values() for line in answer.every("set-cookie") for cookie in [_read(line)[0]]}
    seen.expect("the session's tokens travel in cookies", {ACCESS, REFRESH, TICKET, DEVICE} <= held, sorted(held))
    return seen


@probe("3.3.1")
async def same_site(context: ProbeContext) -> Observations:
    """Read the SameSite attribute of every cookie that is set in a session's life."""
    stage = staged(context)
    seen = Observations()
    answers, _ = await _a_session(stage)
    lines = [(name, line) for name, answer in answers.items() for line in answer.every("set-cookie")]
    for name, line in lines:
        cookie, attributes = _read(line)
        seen.expect(
            f"{name}: {cookie} is SameSite=Lax or Strict", bool(attributes & {"samesite=lax", "samesite=strict"})
        )
    seen.expect("cookies were set", bool(lines), len(lines))
    return seen


async def _a_session(stage: Stage) -> tuple[dict[str, Answer], set[str]]:
    """Return every answer that may set a cookie, and the tokens that were given."""
    person = stage.founder
    body = {"email": person.email, "password": person.password}
    by_api, by_page = stage.browser(), stage.browser()
    answers = {"signing in": await by_api.post(f"{API}/auth/sign-in", body)}
    tokens = set(by_api.cookies.values())
    answers["renewing"] = await by_api.post(f"{API}/auth/refresh", None)
    tokens |= set(by_api.cookies.values())
    answers["signing in on the page"] = await by_page.post_form("/sign-in", body)
    tokens |= set(by_page.cookies.values())
    del by_page.cookies[ACCESS]
    answers["a page after the access token is gone"] = await by_page.get("/companies")
    tokens |= set(by_page.cookies.values())
    at_the_door, with_passkey = stage.browser(), stage.browser()
    answers["the right password where a second factor is asked for"] = await stage.knock(stage.holder, at_the_door)
    tokens |= set(at_the_door.cookies.values())
    passwordless = {"passwordless": True}
    answers["beginning with a passkey"] = await with_passkey.post(f"{API}/auth/passkey/options", passwordless)
    tokens |= set(with_passkey.cookies.values())
    answers["one's sessions"] = await by_page.get("/security")
    answers["appearance"] = await by_page.post_form("/appearance", {"appearance": "dark"})
    answers["signing out on the page"] = await by_page.post_form("/sign-out", {})
    answers["signing out"] = await by_api.post(f"{API}/auth/sign-out", None)
    return answers, {token for token in tokens if len(token) > len("light")}


def _read(line: str) -> tuple[str, set[str]]:
    first, *attributes = (part.strip() for part in line.split(";"))
    return first.partition("=")[0], {attribute.lower() for attribute in attributes}
