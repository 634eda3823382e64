"""The saboteurs of the way out: addresses that are not looked at, names that turn, ceilings that are gone.

Each runs behind a fence, so that what it lets out goes no further than this machine.
"""

from collections.abc import Generator
from contextlib import AbstractContextManager

from operalta.assurance.stage import Stage
from tests.saboteurs.saboteurs import saboteur
from tests.saboteurs.throw_away import WORKER, patched

_FENCE = """
import httpcore2
connect = httpcore2.AnyIOBackend.connect_tcp
async def fenced(self, host, port, *given, **named):
    if not host.startswith("127."):
        raise httpcore2.ConnectError("behind the fence")
    return await connect(self, host, port, *given, **named)
httpcore2.AnyIOBackend.connect_tcp = fenced
"""
_OPEN = """
from dataclasses import replace
from operalta.sandbox import policies
policies.OPEN = replace(policies.OPEN, {change})
"""


def let_out(stage: Stage, patch: str) -> AbstractContextManager[None]:
    """Run the worker with a patch, behind the fence."""
    return patched(stage, WORKER, _FENCE + patch)


# ── Addresses ─────────────────────────────────────────────────────────────────────────────────────────


@saboteur("5.4.1", "5.4.2", spares=("5.4.3",), soak=True)
def addresses_are_not_checked(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import dialling
dialling.check_addresses = lambda addresses, **named: None
"""
    with let_out(stage, patch):
        yield


@saboteur("5.4.1", spares=("5.4.2", "5.4.3"), soak=True)
def addresses_in_addresses_are_not_seen(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import addresses
addresses.embedded_ipv4 = lambda *given: ()
"""
    with let_out(stage, patch):
        yield


@saboteur("5.4.1", spares=("5.4.2", "5.4.3"), soak=True)
def only_the_first_answer_is_checked(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import dialling
check = dialling.check_addresses
dialling.check_addresses = lambda addresses, **named: check(tuple(addresses)[:1], **named)
"""
    with let_out(stage, patch):
        yield


# ── Hops ──────────────────────────────────────────────────────────────────────────────────────────────


@saboteur("5.4.2", spares=("5.4.1", "5.4.3"), soak=True)
def names_are_looked_up_again_to_be_dialled(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import egress
check = egress.checked_addresses
async def twice(destination, resolve, **named):
    addresses = await check(destination, resolve, **named)
    return addresses if destination.address else await resolve(destination.host, destination.port)
egress.checked_addresses = twice
"""
    with let_out(stage, patch):
        yield


@saboteur("5.4.2", spares=("5.4.1", "5.4.3"), soak=True)
def redirects_are_trusted(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox.egress import EgressDoor
ask = EgressDoor.open
class Everything:
    def cover(self, destination):
        return True
async def trusting(self, *given, source=None, **named):
    if source is not None:
        self._exemptions = Everything()
    return await ask(self, *given, source=source, **named)
EgressDoor.open = trusting
"""
    with let_out(stage, patch):
        yield


@saboteur("5.4.2", spares=("5.4.1", "5.4.3"), soak=True)
def cookies_are_kept(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import egress
jar = []
locate, complete = egress.location_of, egress._complete
def keeping(answer):
    jar.extend(value for name, value in answer.headers if name == b"set-cookie")
    return locate(answer)
def with_cookies(*given):
    made = complete(*given)
    cookies = tuple((b"cookie", value) for value in jar[-1:])
    return egress.Outgoing(made.method, made.headers + cookies, made.body)
egress.location_of, egress._complete = keeping, with_cookies
"""
    with let_out(stage, patch):
        yield


@saboteur("5.4.2", spares=("5.4.1", "5.4.3"), soak=True)
def places_are_asked_for_by_their_addresses(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox.destinations import Destination
Destination.authority = property(lambda self: f"127.0.0.1:{self.port}")
"""
    with let_out(stage, patch):
        yield


# ── Ceilings ──────────────────────────────────────────────────────────────────────────────────────────


@saboteur("5.4.3", spares=("5.4.1", "5.4.2"), soak=True)
def answers_of_any_size_are_read(stage: Stage) -> Generator[None]:
    with let_out(stage, _OPEN.format(change="response_bytes=1 << 40")):
        yield


@saboteur("5.4.3", spares=("5.4.1", "5.4.2"), soak=True)
def what_is_unpacked_is_not_measured(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import exchange
make = exchange._Unpacking.__init__
exchange._Unpacking.__init__ = lambda self, limit: make(self, 1 << 40)
"""
    with let_out(stage, patch):
        yield


@saboteur("5.4.3", spares=("5.4.1", "5.4.2"), soak=True)
def answers_of_any_kind_are_taken(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox.policies import EgressPolicy
EgressPolicy.accepts_content = lambda self, media_type: True
"""
    with let_out(stage, patch):
        yield


@saboteur("5.4.3", spares=("5.4.1", "5.4.2"), soak=True)
def every_port_is_open(stage: Stage) -> Generator[None]:
    with let_out(stage, _OPEN.format(change="ports=frozenset(range(1, 65536))")):
        yield


@saboteur("5.4.3", spares=("5.4.1", "5.4.2"), soak=True)
def redirects_are_followed_on_and_on(stage: Stage) -> Generator[None]:
    with let_out(stage, _OPEN.format(change="redirects=50")):
        yield


@saboteur("5.4.3", spares=("5.4.1", "5.4.2"), soak=True)
def fetches_are_not_counted(stage: Stage) -> Generator[None]:
    patch = """
from operalta.agents.way_out import EgressLimits
async def uncounted(self, rule, errand):
    return None
EgressLimits._admit = uncounted
"""
    with let_out(stage, patch):
        yield
