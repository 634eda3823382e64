"""Saboteurs of credentials: who makes them, who sees them, who opens them, how they end."""

from collections.abc import Generator

from operalta.assurance.stage import Stage
from tests.saboteurs.saboteurs import as_owner, replaced, saboteur
from tests.saboteurs.throw_away import WEB, WORKER, patched


@saboteur("1.3.1", spares=("1.3.2", "2.5.1"), soak=True)
def observers_make_keys_of_the_company(stage: Stage) -> Generator[None]:
    patch = """
from operalta.vault.api_keys import service
from operalta.web.api import api_keys
from operalta.access.rules import Permission
service.require = lambda scope, permission: None
for route in api_keys.router.routes:
    for dependency in route.dependant.dependencies:
        held = getattr(dependency.call, "_permission", None)
        if held is Permission.KEYS_USE:
            dependency.call._permission = Permission.COMPANY_READ
"""
    manages = "credentials.may_manage_key(text, uuid)"
    rule = "WHEN 'company' THEN scope.may('keys:manage')"
    with patched(stage, WEB, patch), replaced(stage, manages, (rule, "WHEN 'company' THEN true")):
        yield


@saboteur("1.3.2", spares=("1.3.1", "7.2.1"), soak=True)
def keys_are_written_to_the_log(stage: Stage) -> Generator[None]:
    patch = """
import sys
from operalta.vault.api_keys import service
make = service.new_key_text
def made():
    text = make()
    print(text, file=sys.stderr, flush=True)
    return text
service.new_key_text = made
"""
    with patched(stage, WEB, patch):
        yield


@saboteur("1.3.3", "2.4.1", "7.2.2", "7.2.3", spares=("1.3.1", "1.3.5"), soak=True)
def the_web_process_may_read_what_is_sealed(stage: Stage) -> Generator[None]:
    as_owner(stage, "GRANT SELECT (sealed) ON credentials.secrets TO operalta_web")
    try:
        yield
    finally:
        as_owner(stage, "REVOKE SELECT (sealed) ON credentials.secrets FROM operalta_web")


@saboteur("1.3.3", spares=("1.3.5", "2.5.5", "7.2.2"), soak=True)
def openings_leave_no_event(stage: Stage) -> Generator[None]:
    function = "credentials.open_secret(uuid, text, text, uuid, text)"
    with replaced(stage, function, ("'secret.opened'", "'secret.kept'")):
        yield


@saboteur("1.3.4", spares=("1.3.1", "2.3.4"), soak=True)
def revoked_keys_go_on(stage: Stage) -> Generator[None]:
    with replaced(stage, "credentials.live_key(text, inet)", ("AND held.revoked_at IS NULL", "")):
        yield


@saboteur("1.3.4", spares=("1.3.1", "1.3.2"), soak=True)
def providers_are_not_told(stage: Stage) -> Generator[None]:
    patch = """
from operalta.vault.oauth.revoking import Revoker
async def tell_nobody(self, *given, **named):
    return None
Revoker.tell_one = tell_nobody
"""
    with patched(stage, WORKER, patch):
        yield


@saboteur("1.3.5", spares=("1.3.1", "1.3.4"))
def everybody_opens_signing_secrets(stage: Stage) -> Generator[None]:
    function = "credentials.kind_opened_by(text)"
    with replaced(stage, function, ("ARRAY['webhook_sender'::text]", "ARRAY['webhook_sender'::text, 'egress'::text]")):
        yield


@saboteur("5.5.3", spares=("1.3.1", "5.5.2"), soak=True)
def what_is_off_goes_on(stage: Stage) -> Generator[None]:
    # The database's verdict, and the worker's own look at the row that it was given.
    function = "credentials.use_integration(text, text, boolean)"
    patch = """
from dataclasses import replace
from operalta.vault.integrations import calls
found = calls.integration_with_key_of
async def always_on(*given):
    integration, kept = await found(*given)
    return replace(integration, is_on=True), kept
calls.integration_with_key_of = always_on
"""
    with (
        replaced(stage, function, ("WHEN wanted <> 'check' AND NOT found.is_on THEN 'off'", "")),
        patched(stage, WORKER, patch),
    ):
        yield


@saboteur("5.5.3", spares=("5.5.1", "5.5.2"), soak=True)
def what_is_made_is_on(stage: Stage) -> Generator[None]:
    as_owner(stage, "ALTER TABLE credentials.integrations ALTER COLUMN is_on SET DEFAULT true")
    try:
        yield
    finally:
        as_owner(stage, "ALTER TABLE credentials.integrations ALTER COLUMN is_on SET DEFAULT false")


@saboteur("6.5.1", spares=("5.4.1", "5.4.3", "5.5.3"), soak=True)
def pages_are_told_who_asks(stage: Stage) -> Generator[None]:
    patch = """
from operalta.sandbox import egress
complete = egress._complete
def telling(*given):
    made = complete(*given)
    return egress.Outgoing(made.method, (*made.headers, (b"referer", b"https://operalta.example/acme")), made.body)
egress._complete = telling
"""
    with patched(stage, WORKER, patch):
        yield
