"""`operalta verify`: every probe over a throw-away deployment, and the signed evidence of what was seen."""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from operalta.assurance import probes, store
from operalta.assurance.deployment import ThrowAway
from operalta.assurance.registry import REGISTRY, ProbeRegistry, RegisteredProbe, run_probe
from operalta.assurance.rules import Evidence, Verdict
from operalta.assurance.stage import Stage
from operalta.audit.canonical import canonical_json
from operalta.kernel import clock
from operalta.operations.root_keys import root_keys
from operalta.sealing.errors import BadSignature
from operalta.sealing.signing import SigningKey, SigningKeyRing, SigningPurpose
from operalta.settings import DatabaseRole, Settings
from operalta.terms.registry import CodeReference

PARALLEL = 4
PROBE_SECONDS = 120.0
_SIGNATURE_DOMAIN = b"operalta-evidence-v1\0"

Code = Mapping[str, tuple[CodeReference, ...]]
Show = Callable[[Evidence], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What one run saw: evidence by clause, of which commit, and when it began."""

    at: datetime
    commit: str
    evidence: tuple[Evidence, ...]

    def with_verdict(self, verdict: Verdict) -> tuple[Evidence, ...]:
        """Return the evidence that came to a verdict."""
        return tuple(each for each in self.evidence if each.outcome.verdict is verdict)

    def document(self) -> dict[str, Any]:
        """Return the report as it is published, without a signature."""
        return {
            "at": self.at.isoformat(),
            "commit": self.commit,
            "evidence": [each.to_json() for each in self.evidence],
            "tests": [],
            "attestations": [],
        }


def commit_of(root: Path) -> str:
    """Return the commit that a folder stands at, marked where something was changed since; `unknown` without one."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return "unknown"

    def ask(*arguments: str) -> str | None:
        command = [git, "-c", f"safe.directory={root}", "-C", str(root), "--no-optional-locks", *arguments]
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            answered = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
            if answered.returncode == 0:
                return answered.stdout.strip()
        return None

    commit = ask("rev-parse", "HEAD")
    if commit is None:
        return "unknown"
    return commit if ask("status", "--porcelain", "--", "src") == "" else f"{commit} and changes"


def verify_throw_away(
    root: Path, *, clauses: Collection[str] = (), code: Code | None = None, show: Show = lambda _evidence: None
) -> tuple[Report, dict[str, Any]]:
    """Start a throw-away deployment, run the probes of `clauses` (all unless given), and stop it.

    Returns the report and its document, signed with that deployment's own key. `show` is called with each piece
    of evidence as it comes. Raises DeploymentFailed, ServerFailed or StageFault where there is nothing to look at.
    """
    deployment = ThrowAway()
    try:
        deployment.start()
        report = asyncio.run(_look(Stage(deployment, commit_of(root), root), clauses, code, show))
        return report, signed(report.document(), evidence_ring(deployment.settings))
    finally:
        deployment.stop()


async def _look(stage: Stage, clauses: Collection[str], code: Code | None, show: Show) -> Report:
    await stage.furnish()
    return await run_probes(stage, clauses=clauses, code=code, show=show)


async def run_probes(
    stage: Stage,
    *,
    clauses: Collection[str] = (),
    registry: ProbeRegistry | None = None,
    code: Code | None = None,
    show: Show = lambda _evidence: None,
) -> Report:
    """Run the probes of `clauses` over a furnished stage: a few at a time, then those that must be alone."""
    at = clock.now()
    places = asyncio.Semaphore(PARALLEL)
    found: list[Evidence] = []

    async def run(registered: RegisteredProbe) -> None:
        async with places:
            for evidence in await run_probe(registered, stage, seconds=PROBE_SECONDS, code=code):
                if not clauses or evidence.clause in clauses:
                    found.append(evidence)
                    show(evidence)

    await stage.renew()
    wanted = chosen(registry or all_probes(), clauses)
    async with asyncio.TaskGroup() as group:
        for registered in wanted:
            if not registered.alone:
                group.create_task(run(registered))
    for registered in wanted:
        if registered.alone:
            await run(registered)
    return Report(at, stage.commit, tuple(sorted(found, key=lambda each: _order(each.clause))))


def all_probes() -> ProbeRegistry:
    """Return the registry with all of the product's probes in it."""
    if not probes.MODULES:
        raise LookupError("no module holds probes")
    return REGISTRY


def chosen(registry: ProbeRegistry, clauses: Collection[str]) -> Sequence[RegisteredProbe]:
    """Return the probes of these clauses, each once; all of them for none."""
    by_probe = {each.look: each for clause, each in registry.all().items() if not clauses or clause in clauses}
    return tuple(by_probe.values())


# ── The signature ─────────────────────────────────────────────────────────────────────────────────────


def evidence_ring(settings: Settings) -> SigningKeyRing:
    """Return the ring that signs a deployment's evidence. Raise SettingsError where it has no root key."""
    roots = root_keys(settings)
    return SigningKeyRing(settings.var / "signing-keys", roots, SigningPurpose.EVIDENCE)


def signed(document: Mapping[str, Any], ring: SigningKeyRing) -> dict[str, Any]:
    """Return the document with its Ed25519 signature (RFC 8037) and the public key that it verifies with."""
    bare = {name: value for name, value in document.items() if name != "signature"}
    key = ring.current()
    signature = base64.b64encode(key.sign(_signed_bytes(bare))).decode()
    return {
        **bare,
        "signature": {
            "algorithm": key.algorithm,
            "key_id": key.kid,
            "public_key": key.public_pem(),
            "value": signature,
        },
    }


def signature_holds(document: Mapping[str, Any], key: SigningKey) -> bool:
    """Tell whether a document is whole and was signed by `key`."""
    bare = {name: value for name, value in document.items() if name != "signature"}
    try:
        key.verify(_signed_bytes(bare), base64.b64decode(document["signature"]["value"], validate=True))
    except (BadSignature, KeyError, TypeError, ValueError):
        return False
    return True


async def publish(document: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Sign the document with the deployment's own key and put it onto its trust page; return it as it stands there.

    Raises SettingsError without secrets, `psycopg.Error` where its database cannot be reached as the verifier.
    """
    own = signed(document, evidence_ring(settings))
    dsn = settings.database_dsn(DatabaseRole.VERIFIER)
    async with await psycopg.AsyncConnection[Any].connect(dsn, connect_timeout=10) as connection:
        await store.add_evidence(connection, json.dumps(own))
    return own


def _signed_bytes(bare: Mapping[str, Any]) -> bytes:
    return _SIGNATURE_DOMAIN + canonical_json(dict(bare))


def _order(clause: str) -> tuple[int, ...]:
    return tuple(int(part) for part in clause.split("."))
