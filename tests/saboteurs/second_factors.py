"""The saboteurs of second factors: codes, what asks for them, and the limits on everything that signs in."""

from collections.abc import Generator

from operalta.assurance.stage import Stage
from tests.saboteurs.saboteurs import LIMIT, replaced, saboteur
from tests.saboteurs.throw_away import WEB, WORKER, patched

_TRY_CODE = "signin.try_code(text, text, bytea, text)"
_ACCEPT_CODE = "signin.accept_code(text, text, bytea, uuid, uuid)"
_RESET_PASSWORD = "signin.reset_password(text, text, integer, text, bytea, bytea, text, text)"


# ── In the database ───────────────────────────────────────────────────────────────────────────────────


@saboteur("2.2.2", spares=("3.1.4",))
def codes_live_longer(stage: Stage) -> Generator[None]:
    longer = ("now() + interval '10 minutes'", "now() + interval '11 minutes'")
    with replaced(stage, "elevated.attach_code(uuid, bytea)", longer):
        yield


@saboteur("3.1.4", spares=("2.2.2",))
def tries_of_a_code_are_not_counted(stage: Stage) -> Generator[None]:
    with replaced(stage, _TRY_CODE, ("attempts = live.attempts + 1", "attempts = greatest(live.attempts, 1)")):
        yield


@saboteur("2.2.3", spares=("2.2.2",))
def a_proof_holds_for_a_day(stage: Stage) -> Generator[None]:
    with replaced(stage, "identity.is_proved(uuid)", ("interval '10 minutes'", "interval '1 day'")):
        yield


@saboteur("2.2.3", spares=("2.2.4",), soak=True)
def a_reset_asks_for_no_factor(stage: Stage) -> Generator[None]:
    with replaced(stage, _RESET_PASSWORD, ("IF identity.has_second_factor(link.person_id) THEN", "IF false THEN")):
        yield


@saboteur("2.2.4", spares=("2.2.3", "3.1.4"), soak=True)
def a_code_fits_every_session_of_its_person(stage: Stage) -> Generator[None]:
    sought = ("(latest.ticket_id = held.ticket OR latest.session_id = held.session)", "latest.person_id = held.person")
    taken = ("(live.ticket_id = held.ticket OR live.session_id = held.session)", "live.person_id = held.person")
    with replaced(stage, _TRY_CODE, sought), replaced(stage, _ACCEPT_CODE, taken):
        yield


@saboteur("2.2.4", spares=("2.2.2", "3.1.4"), soak=True)
def a_code_can_be_used_again(stage: Stage) -> Generator[None]:
    unused = ("AND live.used_at IS NULL", "")
    with replaced(stage, _TRY_CODE, unused), replaced(stage, _ACCEPT_CODE, unused):
        yield


@saboteur("2.2.4", spares=("2.2.2",), soak=True)
def a_ticket_holds_on_every_device(stage: Stage) -> Generator[None]:
    own = ("AND held.device_digest = device", "")
    with replaced(stage, "identity.bearer(text, text, bytea)", own):
        yield


# ── In the web process ────────────────────────────────────────────────────────────────────────────────


@saboteur("2.2.3", spares=("2.2.2",), soak=True)
def agents_get_tools_without_a_proof(stage: Stage) -> Generator[None]:
    patch = """
from operalta.agents import service
async def trusting(scope, operation):
    return None
service.require_recent_proof = trusting
"""
    with patched(stage, WEB, patch):
        yield


@saboteur("3.1.1", spares=("3.1.2",), soak=True)
def one_route_is_not_limited(stage: Stage) -> Generator[None]:
    patch = """
from operalta.guard.limiter import Limiter
admit = Limiter.admit
async def lenient(self, rule, subjects):
    return None if rule.name == "trust-device" else await admit(self, rule, subjects)
Limiter.admit = lenient
"""
    with patched(stage, WEB, patch):
        yield


@saboteur("3.1.1", spares=("3.1.2",), soak=True)
def one_route_is_hardly_limited(stage: Stage) -> Generator[None]:
    with patched(stage, WEB, LIMIT.format(rule="VERIFY_EMAIL")):
        yield


@saboteur("3.1.3", spares=("3.1.4",), soak=True)
def a_number_gets_any_number_of_codes(stage: Stage) -> Generator[None]:
    with patched(stage, WEB, LIMIT.format(rule="OTP_SEND")):
        yield


@saboteur("3.1.4", spares=("3.1.3",), soak=True)
def codes_can_be_tried_all_day(stage: Stage) -> Generator[None]:
    with patched(stage, WEB, LIMIT.format(rule="OTP_CHECK")):
        yield


# ── In the worker, or both ────────────────────────────────────────────────────────────────────────────


@saboteur("2.2.1", spares=("2.2.2",), soak=True)
def what_the_provider_does_not_take_is_given_up(stage: Stage) -> Generator[None]:
    patch = """
from operalta.delivery import errors
errors.DeliveryDelayed = errors.DeliveryRefused
"""
    with patched(stage, WORKER, patch):
        yield


@saboteur("2.2.5", "3.2.2", spares=("2.2.2",), soak=True)
def codes_are_written_to_the_log(stage: Stage) -> Generator[None]:
    patch = """
from operalta.delivery import sender
make = sender.new_code
def told():
    code = make()
    print("the code is", code, flush=True)
    return code
sender.new_code = told
"""
    with patched(stage, WORKER, patch):
        yield


@saboteur("2.2.5", "3.2.2", spares=("2.2.2",), soak=True)
def digests_of_codes_need_no_key(stage: Stage) -> Generator[None]:
    patch = """
import hashlib
from operalta.guard import codes
codes.code_digest = lambda key, row, code: hashlib.sha256(row.bytes + code.encode()).digest()
"""
    with patched(stage, WEB, patch), patched(stage, WORKER, patch):
        yield
