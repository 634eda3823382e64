"""Which addresses agents reach: none inside, however it is written and whatever name leads there; the others, all."""

import ipaddress
import secrets

from operalta.assurance.elsewhere import ADDRESS_HOSTS, GOOD, Reply
from operalta.assurance.probes.egress.fetching import Fetched, Fetcher, fetchers
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import Stage, staged
from operalta.sandbox.addresses import is_public

_MIXED, _DIRECT, _ALIAS = ADDRESS_HOSTS
_PLAIN = (
    "127.0.0.1", "10.0.0.1", "169.254.169.254", "localhost", "[::1]", "[fd00:ec2::254]", "metadata.google.internal",
)  # fmt: skip
_DISGUISED = (
    "2130706433",  # decimal
    "017700000001",  # octal
    "0x7f.1",  # hexadecimal, and short
    "0251.0xfe.43518.",  # all of these, and the root's dot
    "127\u30020\uff0e0\uff611",  # the full stops of IDNA
    "%31\uff12\uff17.0.0.1",  # percent-encoded and full-width digits
    "[::ffff:127.0.0.1]",  # mapped
    "[::a9fe:a9fe]",  # compatible
    "[64:ff9b::7f00:1]",  # NAT64
    "[64:ff9b:1::a9fe:a9fe]",
    "[2002:7f00:1::1]",  # 6to4
    "[2001:0:808:808::80ff:fffe]",  # Teredo, the client
    "[2001:0:a00:1::f7f7:f7f7]",  # Teredo, the server
    "[2a00:1450::5efe:7f00:1]",  # ISATAP
)
_PUBLIC, _PUBLIC_IPV6 = "93.184.215.14", "2606:4700:4700::1111"
_ANSWERS = (
    ("127.0.0.1",),
    ("::1",),
    ("::ffff:10.0.0.1",),
    ("64:ff9b::7f00:1",),
    (_PUBLIC, "127.0.0.1"),
    (_PUBLIC_IPV6, "10.0.0.1"),
    (_PUBLIC, _PUBLIC_IPV6, "fd00:ec2::254"),
    (),
)
"""What names lead to; every one of them has an address that is not public, or none."""

_ORDINARY = (
    _PUBLIC, _PUBLIC_IPV6, "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.128.0.0", "172.32.0.0", "192.169.0.0",
    "169.253.255.255", "223.255.255.255", "2001:4860:4860::8888", "2a00:1450:4001::1", "::ffff:1.1.1.1",
    "64:ff9b::101:101", "2002:101:101::1",
)  # fmt: skip
_BY_ADDRESS = frozenset({"address", "metadata"})


@probe("5.4.1", alone=True)
async def inner_addresses_are_refused(context: ProbeContext) -> Observations:
    """Have private, loopback and metadata addresses fetched in many notations and by names; look what was dialled."""
    stage = staged(context)
    seen = Observations()
    writer, namer = await fetchers(stage, "Ann Writing", "Ben Naming")
    found = await writer.fetch_all(f"http://{host}/" for host in (*_PLAIN, *_DISGUISED))
    for each in found:
        seen.expect(f"{each.url} is refused for its address", _refused(each), each.ended)
    hidden = await namer.fetch("http://place.example@127.0.0.1/")
    refused = hidden.run.outcome == "failed" and hidden.ended == "credentials"
    seen.expect("what stands before an @ hides no host", refused, hidden.ended)
    found += [hidden, *await _by_names(stage, namer, seen)]
    seen.expect("nothing was dialled", not any(each.dialled for each in found), f"{len(found)} pages asked for")
    rules = await writer.audited()
    told = len(rules) == len(_PLAIN) + len(_DISGUISED) and _BY_ADDRESS.issuperset(rules)
    seen.expect("the company's audit log says so too", told, f"{len(rules)} refusals")
    await _allowed(stage, namer, seen)
    # These are not dialled, here or anywhere: nothing of this is to leave the machine.
    barred = [address for address in _ORDINARY if not is_public(ipaddress.ip_address(address))]
    seen.expect("addresses of the internet count as public", not barred, "; ".join(barred) or len(_ORDINARY))
    return seen


async def _by_names(stage: Stage, fetcher: Fetcher, seen: Observations) -> list[Fetched]:
    """Have names fetched that lead inside: at once, behind aliases, and where the settings exempt the name."""
    names, elsewhere = stage.deployment.names, stage.deployment.elsewhere
    area = f"{secrets.token_hex(4)}.inner.example"
    urls: dict[str, str] = {}
    for number, answer in enumerate(_ANSWERS):
        names.tell(f"name-{number}.{area}", answer)
        urls[f"http://name-{number}.{area}/"] = " and ".join(answer) or "nowhere"
    names.tell(f"alias.{area}", [f"further.{area}"])
    names.tell(f"further.{area}", [f"name-0.{area}"])
    urls[f"http://alias.{area}/"] = "an alias of an alias of 127.0.0.1"
    names.tell(_MIXED, [GOOD, "169.254.169.254"])
    urls[elsewhere.url(_MIXED, f"/{area}")] = "an exempt place and a metadata service"
    found = await fetcher.fetch_all(urls)
    for each in found:
        seen.expect(f"a name that leads to {urls[each.url]} is refused", _refused(each), each.ended)
    seen.expect("of the exempt place nobody was asked", not elsewhere.visits(f"/{area}"))
    return found


async def _allowed(stage: Stage, fetcher: Fetcher, seen: Observations) -> None:
    """Have places fetched that the settings exempt, in several notations: they are reached."""
    names, elsewhere = stage.deployment.names, stage.deployment.elsewhere
    path = f"/{secrets.token_hex(8)}"
    elsewhere.tell(path, Reply())
    names.tell(_DIRECT, [GOOD])
    names.tell(_ALIAS, [_DIRECT])
    hosts = ("2130706433", _DIRECT.upper(), _ALIAS)
    for each in await fetcher.fetch_all(elsewhere.url(host, path) for host in hosts):
        fine = each.arrived and each.ended == "200" and each.dialled == (GOOD,)
        seen.expect(f"{each.url.rpartition('/')[0]} is allowed, and reached", fine, each.ended)
    arrived = [visit.address for visit in elsewhere.visits(path)]
    seen.expect("all of these arrived there", arrived == [GOOD] * len(hosts), len(arrived))


def _refused(fetched: Fetched) -> bool:
    """Tell whether a page was refused for its address, and before anything was dialled."""
    return fetched.run.outcome == "failed" and fetched.ended in _BY_ADDRESS and not fetched.dialled
