"""From hop to hop: the address that was checked is the one dialled, and what was told to one place stays there."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from operalta.assurance.elsewhere import GOOD, HOP_HOSTS, TRAP, Elsewhere, Reply, Visit, redirect
from operalta.assurance.name_server import A, NameServer
from operalta.assurance.probes.egress.fetching import Fetched, Fetcher, OwnDoor, fetchers
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import Stage, staged
from operalta.sandbox.policies import OPEN

_WALKERS, _HOPS, _ROUNDS, _TRIALS = 3, OPEN.redirects + 1, 2, 3
_CONTROL, _START, _TURNING, _LOST = HOP_HOSTS[-4:]
_PERSONAL = ("cookie", "authorization", "proxy-authorization", "referer", "x-api-key")
_COOKIE = ("Set-Cookie", "session=secret; Path=/")


@dataclass(frozen=True, slots=True)
class _Walk:
    """A page that redirects from host to host, each of which leads elsewhere once it has been asked for."""

    hosts: Sequence[str]
    fetched: Fetched
    visits: tuple[Visit, ...]
    most_asked: int

    @property
    def reached(self) -> bool:
        """Whether every hop went where its name led when it was asked for, and the log says so."""
        good = (GOOD,) * len(self.hosts)
        return tuple(visit.address for visit in self.visits) == good == self.fetched.dialled and self.fetched.arrived

    @property
    def holds(self) -> bool:
        """Whether that was so with one question a hop."""
        return self.reached and self.most_asked == 1


@probe("5.4.2", alone=True)
async def the_checked_address_is_dialled(context: ProbeContext) -> Observations:
    """Let names lead to a trap from the second question on, redirect inside, and look who arrives, and with what."""
    stage = staged(context)
    seen = Observations()
    walker, led = await fetchers(stage, "Dag Walking", "Eli Led")
    await _spring_the_trap(stage, walker, seen)
    walks = [
        walk
        for several in await asyncio.gather(*(_walk_often(stage, walker, number) for number in range(_WALKERS)))
        for walk in several
    ]
    tries = f"{sum(len(walk.hosts) for walk in walks)} tries"
    visits = [visit for walk in walks for visit in walk.visits]
    trapped = [visit for visit in visits if visit.address == TRAP]
    seen.expect("no name that turned to the trap won", not trapped, f"{len(trapped)} of {tries}")
    seen.expect("each hop went to the address that was checked", all(walk.reached for walk in walks), tries)
    asked = max(walk.most_asked for walk in walks)
    seen.expect("a name is looked up once a hop", asked == 1, asked)
    port = stage.deployment.elsewhere.port
    kept = all(
        [visit.host for visit in walk.visits] == [f"{host}:{port}" for host in walk.hosts][: len(walk.visits)]
        for walk in walks
    )
    seen.expect("each place is asked for by its own name", kept and bool(visits), len(visits))
    personal = sorted({name for visit in visits for name in _PERSONAL if name in visit.fields})
    seen.expect("no cookie that was set comes back, and nothing else that is personal", not personal, personal)
    await _lead_inside(stage, led, seen)
    await _turn_inside(stage, led, seen)
    await _carry_credentials(stage, context, seen)
    return seen


async def _spring_the_trap(stage: Stage, fetcher: Fetcher, seen: Observations) -> None:
    """See that the trap would catch somebody: a name that the settings exempt may lead there, and then does."""
    path = f"/{secrets.token_hex(8)}"
    elsewhere = stage.deployment.elsewhere
    elsewhere.tell(path, Reply())
    stage.deployment.names.tell(_CONTROL, [TRAP])
    fetched = await fetcher.fetch(elsewhere.url(_CONTROL, path))
    caught = [visit.address for visit in elsewhere.visits(path)]
    seen.expect("a name that leads to the trap at once arrives there", caught == [TRAP], fetched.ended)


async def _walk_often(stage: Stage, fetcher: Fetcher, number: int) -> list[_Walk]:
    """Walk some rounds over hosts that nobody else uses; no further than the first that does not hold."""
    walks: list[_Walk] = []
    hosts = HOP_HOSTS[number * _HOPS : (number + 1) * _HOPS]
    names, elsewhere = stage.deployment.names, stage.deployment.elsewhere
    for _ in range(_ROUNDS):
        walk = await _walk(elsewhere, names, fetcher, hosts)
        for _ in range(_TRIALS - 1):
            if walk.holds:
                break
            # Where an answer is late, as on a busy machine, the product may ask again, and gets the next one.
            walk = await _walk(elsewhere, names, fetcher, hosts)
        walks.append(walk)
        if not walk.holds:
            break
    return walks


async def _walk(elsewhere: Elsewhere, names: NameServer, fetcher: Fetcher, hosts: Sequence[str]) -> _Walk:
    path = f"/{secrets.token_hex(8)}"
    for place, host in enumerate(hosts):
        names.tell(host, [GOOD], [TRAP])
        further = [elsewhere.url(next_host, f"{path}/{place + 1}") for next_host in hosts[place + 1 : place + 2]]
        reply = redirect(further[0], _COOKIE) if further else Reply(fields=(_COOKIE,))
        elsewhere.tell(f"{path}/{place}", reply)
    fetched = await fetcher.fetch(elsewhere.url(hosts[0], f"{path}/0"))
    most = max(names.times_asked(host, A) for host in hosts)
    return _Walk(hosts, fetched, elsewhere.visits(path), most)


async def _lead_inside(stage: Stage, fetcher: Fetcher, seen: Observations) -> None:
    """Redirect from an exempt place to where nobody is let: refused at the second hop, before it is dialled."""
    names, elsewhere = stage.deployment.names, stage.deployment.elsewhere
    path = f"/{secrets.token_hex(8)}"
    stranger = f"{secrets.token_hex(4)}.stranger.example"
    names.tell(stranger, [TRAP])
    names.tell(_START, [GOOD])
    lures = (
        # Whichever is looked at first refuses these: the port is odd, and the address inside.
        (elsewhere.url(TRAP, f"{path}/caught"), "port or address"),
        (elsewhere.url(stranger, f"{path}/caught"), "port or address"),
        (f"http://{stranger}/", "address"),
        ("http://127.0.0.1/", "address"),
        ("//0x7f.1/", "address"),
        ("http://169.254.169.254/latest/meta-data/", "metadata"),
        (f"http://somebody:secret@{_START}:{elsewhere.port}{path}/caught", "credentials"),
        ("file:///etc/passwd", "scheme"),
    )
    elsewhere.tell(f"{path}/caught", Reply())
    urls: list[str] = []
    for number, (lure, _) in enumerate(lures):
        elsewhere.tell(f"{path}/{number}", redirect(lure, status=307 if number % 2 else 302))
        urls.append(elsewhere.url(_START, f"{path}/{number}"))
    for (lure, rule), each in zip(lures, await fetcher.fetch_all(urls), strict=True):
        seen.expect(f"a redirect to {lure} is refused ({rule})", _stopped(each, rule), each.ended)
    caught = elsewhere.visits(f"{path}/caught")
    seen.expect("nobody was led where no redirect leads", not caught, len(caught))


async def _turn_inside(stage: Stage, fetcher: Fetcher, seen: Observations) -> None:
    """Redirect from an exempt name to itself, which leads to a metadata service by then, or nowhere any more."""
    elsewhere = stage.deployment.elsewhere
    path = f"/{secrets.token_hex(8)}"
    for host, answer, rule in ((_TURNING, ["169.254.169.254"], "metadata"), (_LOST, [], "address")):
        elsewhere.tell(f"{path}/{host}", redirect(elsewhere.url(host, f"{path}/caught")))
        url, turns = elsewhere.url(host, f"{path}/{host}"), ([GOOD], answer)
        fetched = await _fetch_turning(stage, fetcher, url, host, turns)
        what = " and ".join(answer) or "nowhere"
        seen.expect(f"a name that leads to {what} by then is refused ({rule})", _stopped(fetched, rule), fetched.ended)
    caught = elsewhere.visits(f"{path}/caught")
    seen.expect("nobody was led to where a name no longer leads", not caught, len(caught))


async def _fetch_turning(
    stage: Stage, fetcher: Fetcher, url: str, host: str, turns: Sequence[Sequence[str]]
) -> Fetched:
    """Fetch from a name that turns; again where the first answer was late, so that it had turned before it was used."""

    async def fetch() -> Fetched:
        stage.deployment.names.tell(host, *turns)
        return await fetcher.fetch(url)

    fetched = await fetch()
    for _ in range(_TRIALS - 1):
        if len(fetched.lines) > 1:
            break
        fetched = await fetch()
    return fetched


def _stopped(fetched: Fetched, rules: str) -> bool:
    """Tell whether a fetch was refused by a rule, of those with an "or" between, at its second hop, and not dialled."""
    hops = len(fetched.lines) == 2 and fetched.dialled == (GOOD,) and fetched.lines[-1].address is None  # noqa: PLR2004
    return hops and fetched.ended in rules.split(" or ") and fetched.run.outcome == "failed"


async def _carry_credentials(stage: Stage, context: ProbeContext, seen: Observations) -> None:
    """Send credentials, which no agent can, with the product's own door: they stay with the origin they are for."""
    names, elsewhere = stage.deployment.names, stage.deployment.elsewhere
    path = f"/{secrets.token_hex(8)}"
    first, second = HOP_HOSTS[0], HOP_HOSTS[1]
    for host in (first, second):
        names.tell(host, [GOOD])
    elsewhere.tell(f"{path}/0", redirect(f"{path}/1"))
    elsewhere.tell(f"{path}/1", redirect(elsewhere.url(second, f"{path}/2")))
    elsewhere.tell(f"{path}/2", redirect(elsewhere.url(first, f"{path}/3")))
    elsewhere.tell(f"{path}/3", Reply())
    sent = {"authorization": "Bearer secret", "cookie": "session=secret", "x-api-key": "secret"}
    ended = await OwnDoor(context).ask(elsewhere.url(first, f"{path}/0"), OPEN, headers=sent)
    carried = [sorted(sent.keys() & visit.fields.keys()) for visit in elsewhere.visits(path)]
    everything = sorted(sent)
    stays = carried == [everything, everything, [], []] and ended == "200"
    seen.expect("credentials go to the origin they are for, and not beyond, nor back again", stays, carried)
