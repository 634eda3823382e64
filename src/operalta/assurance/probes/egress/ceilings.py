"""How much a fetch may do: the named policies, the ceilings of the one that agents have, and what is counted."""

import secrets
from dataclasses import replace
from uuid import UUID

from operalta.agents.way_out import EgressLimits
from operalta.assurance.elsewhere import CEILING_HOSTS, GOOD, TRAP, Elsewhere, Reply, packed, redirect
from operalta.assurance.probes.egress.fetching import NOT_COUNTED, Fetcher, OwnDoor, fetchers
from operalta.assurance.probes.egress.surfaces import NAMED, is_within, named_policy, surfaces
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import Stage, staged
from operalta.guard.errors import LimiterUnavailable, TooManyRequests
from operalta.guard.limiter import Limiter
from operalta.guard.rules import EGRESS_REQUESTS, EGRESS_VOLUME, Decision, Dimension, Rule, Subjects
from operalta.kernel.ids import CompanyId
from operalta.sandbox.policies import ALLOW_LISTED, NONE, OPEN

_HOST, _OTHER = CEILING_HOSTS
_PIECE = b"x" * 65_536
_MEBIBYTE = 1024 * 1024
_SHORT = replace(OPEN, name="short", seconds=1.0)
_ANSWERS = (
    ("a page of a mebibyte", Reply(_PIECE, times=16), "200"),
    ("a page that is packed", packed(100_000), "200"),
    ("a page of HTML", Reply(b"<p>arrived", kind="text/html; charset=utf-8"), "200"),
    ("an answer that is announced as too large", Reply(announced=OPEN.response_bytes + 1), "fetch_too_large"),
    ("an answer that is larger than it said", Reply(_PIECE, times=128), "fetch_too_large"),
    ("a small answer that unpacks to a large one", packed(OPEN.response_bytes + _MEBIBYTE), "fetch_too_large"),
    ("an answer that is packed otherwise", packed(100, encoding="br"), "fetch_failed"),
    ("an answer of bytes", Reply(kind="application/octet-stream"), "content_refused"),
    ("an archive", Reply(kind="application/zip"), "content_refused"),
    ("a drawing that can hold scripts", Reply(kind="image/svg+xml"), "content_refused"),
    ("an answer of no kind", Reply(kind=""), "content_refused"),
)
_FORBIDDEN = (
    ("http://{}:22/", "port"),
    ("http://{}:8080/", "port"),
    ("https://{}:8443/", "port"),
    ("ftp://{}/", "scheme"),
    ("file:///etc/passwd", "scheme"),
)


class _Away(Limiter):
    """A limiter whose store is out of reach."""

    def __init__(self) -> None:
        super().__init__("unix:///nowhere", digest_key=bytes(32))

    async def admit(self, rule: Rule, subjects: Subjects) -> Decision | None:  # noqa: ARG002 - the limiter's signature
        """Raise LimiterUnavailable."""
        raise LimiterUnavailable


@probe("5.4.3", alone=True)
async def policies_have_ceilings(context: ProbeContext) -> Observations:
    """Read which policies there are and who declares which, and have pages fetched that go beyond each ceiling."""
    stage = staged(context)
    seen = Observations()
    _read_policies(context, seen)
    (fetcher,) = await fetchers(stage, "Fay Capped")
    stage.deployment.names.tell(_HOST, [GOOD])
    stage.deployment.names.tell(_OTHER, [GOOD])
    await _go_beyond(stage.deployment.elsewhere, fetcher, seen)
    await _redirect_often(stage.deployment.elsewhere, fetcher, seen)
    await _ask_for_other_ports(stage, fetcher, seen)
    await _ask_otherwise(stage, context, seen)
    await _use_up(stage, fetcher, EGRESS_REQUESTS, seen)
    await _use_up(stage, await fetcher.elsewhere(), EGRESS_VOLUME, seen)
    return seen


def _read_policies(context: ProbeContext, seen: Observations) -> None:
    names = {reach.value: policy.name for reach, policy in NAMED.items()}
    named = names == {"open": "open", "allow-listed": "allow-listed", "none": "none"}
    seen.expect("open, allow-listed and none are policies with names", named, "; ".join(names.values()))
    opens = (NONE.schemes, NONE.ports, NONE.methods, NONE.content_types, NONE.seconds, NONE.response_bytes)
    seen.expect("none opens nothing", not any(opens), NONE.reach.value)
    stricter = OPEN.methods <= {"GET", "HEAD"} and OPEN.request_bytes == 0 and not ALLOW_LISTED.hosts
    seen.expect("where all hosts are open nothing is sent, and a list begins empty", stricter)
    found = surfaces(context.root / "src" / "operalta")
    seen.expect("there is somebody who asks the network", bool(found), len(found))
    for surface in found:
        policies = surface.policies
        held = bool(policies) and all(is_within(policy, named_policy(policy)) for policy in policies)
        told = "; ".join(policy.name for policy in policies) or "none that is known"
        seen.expect(f"{surface.file} declares a policy that opens no more than a named one", held, told)


async def _go_beyond(elsewhere: Elsewhere, fetcher: Fetcher, seen: Observations) -> None:
    """Have answers fetched that are taken, and such as are too large or of a kind that is not."""
    path = f"/{secrets.token_hex(8)}"
    for number, (_, reply, _) in enumerate(_ANSWERS):
        elsewhere.tell(f"{path}/{number}", reply)
    urls = [elsewhere.url(_HOST, f"{path}/{number}") for number in range(len(_ANSWERS))]
    for (what, _, outcome), each in zip(_ANSWERS, await fetcher.fetch_all(urls), strict=True):
        ended = each.ended == outcome and each.arrived == (outcome == "200")
        seen.expect(f"{what}: {outcome}", ended, each.ended)
        read = sum(line.bytes for line in each.lines)
        seen.expect(f"{what}: no more is read than may be", read <= OPEN.response_bytes + _MEBIBYTE, read)
    arrived = len(elsewhere.visits(path))
    seen.expect("each of them was asked for", arrived >= len(_ANSWERS), arrived)


async def _redirect_often(elsewhere: Elsewhere, fetcher: Fetcher, seen: Observations) -> None:
    path, most = f"/{secrets.token_hex(8)}", OPEN.redirects
    for number in range(most + 3):
        hosts = (_HOST, _OTHER)
        elsewhere.tell(f"{path}/{number}", redirect(elsewhere.url(hosts[number % 2], f"{path}/{number + 1}")))
    elsewhere.tell(f"{path}/{most + 3}", Reply())
    within, beyond = await fetcher.fetch_all(elsewhere.url(_HOST, f"{path}/{start}") for start in (3, 2))
    seen.expect(f"{most} redirects are followed", within.arrived and len(within.lines) == most + 1, within.ended)
    given_up = not beyond.arrived and len(beyond.lines) == most + 1
    seen.expect("one more is not", given_up, f"{len(beyond.lines)} requests, then {beyond.ended}")


async def _ask_for_other_ports(stage: Stage, fetcher: Fetcher, seen: Observations) -> None:
    """Ask for ports and schemes that the policy does not have, of a name that leads to where nobody is to arrive."""
    stranger = f"{secrets.token_hex(4)}.stranger.example"
    stage.deployment.names.tell(stranger, [TRAP])
    urls = [form.format(stranger) for form, _ in _FORBIDDEN]
    for (_, rule), each in zip(_FORBIDDEN, await fetcher.fetch_all(urls), strict=True):
        refused = not each.arrived and each.ended == rule and not each.dialled
        seen.expect(f"{each.url} is refused ({rule})", refused, each.ended)
    asked = stage.deployment.names.times_asked(stranger)
    seen.expect("the name was not even looked up", asked == 0, asked)


async def _ask_otherwise(stage: Stage, context: ProbeContext, seen: Observations) -> None:
    """Ask for what no agent can, with the product's own door: other methods, other policies, without counting."""
    elsewhere, path = stage.deployment.elsewhere, f"/{secrets.token_hex(8)}"
    here, there = elsewhere.url(_HOST, path), elsewhere.url(_OTHER, path)
    elsewhere.tell(path, Reply())
    door, listed = OwnDoor(context), ALLOW_LISTED.for_hosts(f"{_HOST}:{elsewhere.port}")
    seen.expect("a listed host takes what is sent", await door.ask(here, listed, method="POST", body=b"x") == "200")
    before = len(elsewhere.visits(path))
    asked = (
        ("another host is not on the list", await door.ask(there, listed), "host"),
        ("a list without hosts reaches none", await door.ask(here, ALLOW_LISTED), "host"),
        ("none reaches nothing", await door.ask(here, NONE), "policy"),
        ("a deployment without network has none", await OwnDoor(context, NONE).ask(here, OPEN), "policy"),
        ("open web sends nothing", await door.ask(here, OPEN, method="POST"), "method"),
        ("not even with another method", await door.ask(here, OPEN, body=b"x"), "fetch_too_large"),
    )
    for claim, ended, rule in asked:
        seen.expect(f"{claim} ({rule})", ended == rule, ended)
    somebody = CompanyId(UUID(int=1))
    for claim, meter in (("nothing counts", None), ("the counts cannot be reached", EgressLimits(_Away()))):
        ended = await OwnDoor(context, meter=meter).ask(here, OPEN, company=somebody)
        seen.expect(f"where {claim} no company asks", ended == NOT_COUNTED, ended)
    seen.expect("nothing of this arrived", len(elsewhere.visits(path)) == before, len(elsewhere.visits(path)))
    elsewhere.tell(f"{path}/slow", Reply(b"x", times=20, pause=0.1))
    ended = await door.ask(elsewhere.url(_HOST, f"{path}/slow"), _SHORT)
    seen.expect("what takes longer than its policy allows is given up", ended == "fetch_timed_out", ended)


async def _use_up(stage: Stage, fetcher: Fetcher, rule: Rule, seen: Observations) -> None:
    """Use up what a company has of a limit in the deployment's own store, and have its agent fetch once more."""
    elsewhere, path = stage.deployment.elsewhere, f"/{secrets.token_hex(8)}"
    elsewhere.tell(path, Reply())
    first = await fetcher.fetch(elsewhere.url(_HOST, path))
    seen.expect(f"{rule.name}: a company may ask", first.arrived, first.ended)
    used = await _count_to_the_end(stage, rule, fetcher.company.id)
    second = await fetcher.fetch(elsewhere.url(_HOST, path))
    refused = not second.arrived and second.ended == "fetch_limit_reached"
    seen.expect(f"{rule.name}: not when it has had its share", refused, f"{second.ended} after {used} more")


async def _count_to_the_end(stage: Stage, rule: Rule, company: str) -> int:
    """Count for a company until the limiter lets nothing pass, and return how often it did."""
    settings, most = stage.settings, rule.limits[Dimension.COMPANY].limit
    key: bytes = settings.secret("limit-key")
    async with Limiter(settings.redis_address, digest_key=key, socket_timeout_seconds=5, deadline_seconds=5) as limiter:
        for used in range(2 * most):
            try:
                await limiter.admit(rule, Subjects(company=company))
            except TooManyRequests:
                return used
    return 2 * most
