"""How the audit log is observed: what administration leaves in it, and whether tampering is found."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from operalta.assurance.probes import store
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Stage, staged
from operalta.audit.deployment_check import verify_deployment
from operalta.audit.findings import LogReport, LogVerdict
from operalta.audit.heads import HeadDirectory
from operalta.audit.keys import verifier
from operalta.operations.root_keys import root_keys
from operalta.sealing.signing import SigningKeyRing, SigningPurpose
from operalta.settings import DatabaseRole

_SEALING_SECONDS = 12.0
_EXPECTED = {
    "company.founded": "company",
    "member.invited": "invitation",
    "invitation.accepted": "invitation",
    "member.role_changed": "person",
    "invitation.revoked": "invitation",
    "member.removed": "person",
}


@probe("2.5.5", alone=True)
async def administration_is_logged(context: ProbeContext) -> Observations:
    """Administer a company, read its log, then edit an event as a superuser and put it back."""
    stage = staged(context)
    seen = Observations()
    # Roles are changed by somebody who has just signed in, however long the others have been there.
    founder, member = await stage.new_person("Hal Administering"), await stage.new_person("Ida Administered")
    company = await stage.found(founder, "Administered Company", "startup")
    await stage.invite(founder, company, member, "observer")
    base = f"{API}/companies/{company.slug}"
    own, other = [(await each.browser.get(f"{API}/me")).json()["id"] for each in (founder, member)]
    await founder.browser.send("PUT", f"{base}/members/{other}/role", json={"role": "advisor"})
    invited = await founder.browser.post(f"{base}/invitations", {"email": "gone@people.example", "role": "observer"})
    await founder.browser.send("DELETE", f"{base}/invitations/{invited.json()['id']}")
    await founder.browser.send("DELETE", f"{base}/members/{other}")
    events = (await founder.browser.get(f"{base}/audit?limit=100")).json()["items"]
    for action in _EXPECTED:
        found = [event for event in events if event["action"] == action]
        by = {other} if action == "invitation.accepted" else {own}
        whole = all(event["actor_person_id"] in by and event["target_id"] and event["outcome"] for event in found)
        wanted = 2 if action == "member.invited" else 1
        seen.expect(
            f"{action} left one event with actor, target and outcome", len(found) == wanted and whole, len(found)
        )
    await _wait_for_sealing(stage)
    report = await _check(stage)
    seen.expect("the log checks as whole", report.verdict is LogVerdict.WHOLE, _told(report))
    async with _superuser(stage) as connection:
        event = await store.edit_an_event(connection)
        if not seen.expect("an event can be edited as a superuser", event is not None) or event is None:
            return seen
        try:
            edited = await _check(stage)
        finally:
            await store.restore_event(connection, event)
    seen.expect("the edit is found", edited.verdict is LogVerdict.TAMPERED, _told(edited))
    return seen


async def _wait_for_sealing(stage: Stage) -> None:
    """Wait until everything is in the tree and the newest head is out."""
    deadline = time.monotonic() + _SEALING_SECONDS
    async with stage.connect(DatabaseRole.OWNER) as connection:
        while await store.unsealed_events(connection):
            if time.monotonic() > deadline:
                return
            await asyncio.sleep(0.1)


async def _check(stage: Stage) -> LogReport:
    settings = stage.settings
    ring = SigningKeyRing(settings.var / "signing-keys", root_keys(settings), SigningPurpose.AUDIT)
    heads = HeadDirectory(settings.var / "audit-heads")
    return await verify_deployment(settings.database_dsn(DatabaseRole.OWNER), heads, verifier(ring.find))


@asynccontextmanager
async def _superuser(stage: Stage) -> AsyncGenerator[store.Probed]:
    """Open a connection that nothing in the database holds back."""
    settings = stage.settings
    dsn = make_conninfo(
        host=str(settings.socket_path),
        user="postgres",
        password=settings.secret("database-postgres").decode(),
        dbname="operalta",
    )
    async with await AsyncConnection[Any].connect(dsn, row_factory=dict_row, autocommit=True) as connection:
        yield connection


def _told(report: LogReport) -> str:
    found = "; ".join(f"{finding.kind.value} at {finding.where}" for finding in report.findings[:3])
    return f"{report.verdict.value}{': ' + found if found else ''}, {report.counts.leaves} leaves"
