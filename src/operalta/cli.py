"""The command line. Each command says in its help what it does, with an example, and ends with a code to rely on.

0 done · 1 refused or failed, the reason printed · 2 wrong use · 3 one is running already, or a check found a fault
· 4 a check could not be carried out.
"""

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from operalta import __version__
from operalta.operations.api_key_commands import api_key_commands
from operalta.operations.key_commands import key_commands
from operalta.operations.people_commands import people_commands
from operalta.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from operalta.db.policy_check import Gap

application = typer.Typer(
    name="operalta",
    help="Operalta: a company's people and agents, working on its own memory. Start with: operalta up",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
audit_commands = typer.Typer(help="The audit log.", no_args_is_help=True)
application.add_typer(audit_commands, name="audit")
application.add_typer(people_commands, name="people")
application.add_typer(api_key_commands, name="api-keys")
application.add_typer(key_commands, name="keys")

PROJECT = Path(__file__).resolve().parents[2]
FAULT_FOUND = 3
COULD_NOT_CHECK = 4


def main() -> None:
    """Run the command line and turn every known refusal into one line."""
    import psycopg

    from operalta.db.errors import DatabaseOutOfReach, PolicyGaps, SchemaFromTheFuture
    from operalta.kernel.errors import Refusal
    from operalta.operations.deployment import AlreadyRunning, CannotStart
    from operalta.operations.privileges import CannotLeaveRoot
    from operalta.operations.servers import ServerFailed
    from operalta.operations.support import CannotHelp

    try:
        application()
    except AlreadyRunning as refusal:
        _say(str(refusal))
        sys.exit(FAULT_FOUND)
    except (
        CannotHelp,
        CannotStart,
        ServerFailed,
        CannotLeaveRoot,
        SettingsError,
        DatabaseOutOfReach,
        PolicyGaps,
        SchemaFromTheFuture,
        Refusal,
    ) as refusal:
        _say(str(refusal))
        sys.exit(1)
    except psycopg.Error as failure:
        _say(f"the database refused: {type(failure).__name__}: {str(failure).splitlines()[0]}")
        sys.exit(1)


@application.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    """Read the options that come before a command."""
    if version:
        print(f"operalta {__version__}")
        raise typer.Exit


@application.command()
def up() -> None:
    """Start everything on http://localhost:8080 and keep it running; Ctrl-C stops it.

    Example: OPERALTA_PORT=9000 operalta up
    """
    from operalta.operations.privileges import leave_root
    from operalta.operations.supervisor import Supervisor

    settings = load_settings()
    leave_root(PROJECT, (settings.var,))

    def ready(link: str | None) -> None:
        print(f"\n  Operalta is ready:  {settings.base_url}")
        if link is not None:
            print(f"  Become the operator (one use, 30 minutes):\n  {link}")
        print("\n  Ctrl-C stops it.\n", flush=True)

    Supervisor(settings, _say).run(ready)
    _say("stopped")


def _settings_with(*secrets: str) -> Settings:
    """Return the settings, once the secrets that the process needs are fit for them.

    Looked at before the product is imported, which takes seconds, so that a refusal comes at once.
    """
    settings = load_settings()
    for name in secrets:
        settings.secret(name)
    return settings


@application.command()
def serve() -> None:
    """Run one web process (`up` does this for you).

    Example: OPERALTA_PROFILE=production operalta serve
    """
    settings = _settings_with("refresh-key", "limit-key", "code-key")
    settings.peppers()
    from operalta.app import serve as serve_web

    serve_web(settings)


@application.command()
def worker() -> None:
    """Run one worker: agents' runs, mail, the sealing of the audit log (`up` does this for you).

    Example: operalta worker
    """
    settings = _settings_with("limit-key", "code-key")
    from operalta.worker import work

    work(settings)


@application.command()
def migrate() -> None:
    """Bring the database to this release, as its owner.

    Example: OPERALTA_DATABASE_URL=postgresql://owner@db/operalta operalta migrate
    """
    from operalta.operations.deployment import migrate_database
    from operalta.operations.secrets import make_missing_secrets

    settings = load_settings()
    make_missing_secrets(settings)
    print(f"The database is at revision {migrate_database(settings)}.")


@application.command("policy-check")
def policy_check(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Find gaps: in the database's row security, grants and functions, and in what the routes declare.

    It only reads, so it can be run beside a deployment that serves. Each finding tells where it is, what is wrong and
    how to mend it. Ends with 3 where there is one, and 4 where it could not check.

    Example: operalta policy-check --json
    """
    import psycopg

    from operalta.db.errors import NotMigrated
    from operalta.db.policy_check import check_policies
    from operalta.settings import DatabaseRole
    from operalta.web.declarations import check_routes

    try:
        with psycopg.connect(load_settings().database_dsn(DatabaseRole.VERIFIER), connect_timeout=10) as connection:
            gaps = [*check_policies(connection), *check_routes()]
    except (psycopg.Error, NotMigrated, SettingsError) as error:
        _say(f"could not check: {error}")
        raise typer.Exit(COULD_NOT_CHECK) from error
    if as_json:
        print(json.dumps([asdict(gap) for gap in gaps], indent=2))
    else:
        _show_gaps(gaps)
    if gaps:
        raise typer.Exit(FAULT_FOUND)


def _show_gaps(gaps: "list[Gap]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if gaps:
        table = Table("Where", "What is wrong", "How to mend it", box=None, pad_edge=False)
        for gap in gaps:
            table.add_row(*(Text(text, overflow="fold") for text in (gap.place, gap.fault, gap.mend)))
        Console().print(table)
    counted = f"\n{len(gaps)} finding{'' if len(gaps) == 1 else 's'}."
    print(counted if gaps else "Nothing was found: no table, function, grant or route is open.")


@audit_commands.command("verify")
def audit_verify(
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Check every event, leaf, number and signed head of the audit log against what lies outside the database.

    Ends with 0 where all is whole, 3 where something was tampered with, 4 where something could not be checked.

    Example: operalta audit verify --json
    """
    import asyncio

    from operalta.audit.deployment_check import verify_deployment
    from operalta.audit.findings import LogVerdict
    from operalta.audit.heads import HeadDirectory
    from operalta.audit.keys import verifier
    from operalta.db.errors import DatabaseOutOfReach
    from operalta.operations.root_keys import root_keys
    from operalta.sealing.signing import SigningKeyRing, SigningPurpose
    from operalta.settings import DatabaseRole

    settings = load_settings()
    try:
        roots = root_keys(settings)
        ring = SigningKeyRing(settings.var / "signing-keys", roots, SigningPurpose.AUDIT)
        heads = HeadDirectory(settings.var / "audit-heads")
        report = asyncio.run(verify_deployment(settings.database_dsn(DatabaseRole.OWNER), heads, verifier(ring.find)))
    except (DatabaseOutOfReach, SettingsError, OSError) as error:
        _say(f"could not check: {error}")
        raise typer.Exit(COULD_NOT_CHECK) from error
    if as_json:
        findings = [{"kind": one.kind.value, "where": one.where, "text": one.text} for one in report.findings]
        print(
            json.dumps(
                {"verdict": report.verdict.value, "counts": asdict(report.counts), "findings": findings}, indent=2
            )
        )
    else:
        counts = report.counts
        print(
            f"The log is {report.verdict.value}: {counts.leaves} sealed, {counts.proved} proved, "
            f"{counts.erased} erased, {counts.unsealed} not sealed yet, {counts.heads} signed heads outside."
        )
        for finding in report.findings:
            print(f"  {finding.kind.value} at {finding.where}: {finding.text}")
    if report.verdict is LogVerdict.TAMPERED:
        raise typer.Exit(FAULT_FOUND)
    if report.verdict is LogVerdict.COULD_NOT_CHECK:
        raise typer.Exit(COULD_NOT_CHECK)


@application.command()
def status(as_json: Annotated[bool, typer.Option("--json", help="Print the parts as JSON.")] = False) -> None:
    """Tell which parts of the deployment run; ends with 3 where one does not.

    Example: operalta status --json
    """
    import asyncio

    from operalta.operations.health import OPTIONAL, parts

    found = asyncio.run(parts(load_settings()))
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        for name, state in found.items():
            print(f"{name:16} {state}")
    if any(state != "running" for name, state in found.items() if name not in OPTIONAL):
        raise typer.Exit(FAULT_FOUND)


@application.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False) -> None:
    """Tell what is wrong with settings, secrets, versions, servers, sandbox and model routes, and how to mend each.

    It only looks. Ends with 3 where something is wrong, 4 where something could not be checked and nothing is wrong.

    Example: operalta doctor --json
    """
    from operalta.operations.doctor import Verdict, examine

    found = examine()
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    for each in () if as_json else found:
        sign = {Verdict.WELL: "✓", Verdict.WRONG: "✗", Verdict.UNKNOWN: "?"}[each.verdict]
        print(f"{sign} {each.part:12} {each.says}{f'{chr(10)}{16 * chr(32)}{each.mend}' if each.mend else ''}")
    verdicts = {each.verdict for each in found}
    if Verdict.WRONG in verdicts:
        raise typer.Exit(FAULT_FOUND)
    if Verdict.UNKNOWN in verdicts:
        raise typer.Exit(COULD_NOT_CHECK)


@application.command()
def verify(
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the signed evidence.")] = None,
    clause: Annotated[list[str] | None, typer.Option(help="Only this clause; may be given more than once.")] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Show it on this deployment's trust page.")] = False,
) -> None:
    """Start a throw-away deployment, observe every clause that has a probe, print a table; about a minute.

    Ends with 0 where all that was observed holds, 3 where something does not, 4 where something could not be observed.

    Example: operalta verify --clause 2.1.1 --json evidence.json
    """
    from operalta.operations.privileges import leave_root

    leave_root(PROJECT, ())
    raise typer.Exit(_verify(json_file, tuple(clause or ()), publish=publish))


def _verify(json_file: Path | None, wanted: tuple[str, ...], *, publish: bool) -> int:
    import asyncio

    from operalta.assurance import table
    from operalta.assurance import verify as verification
    from operalta.assurance.deployment import DeploymentFailed
    from operalta.assurance.rules import Verdict
    from operalta.assurance.stage import StageFault
    from operalta.terms.registry import upheld

    # What ends this command must not leave the throw-away deployment behind.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(COULD_NOT_CHECK))
    _import_rooms()
    known = verification.all_probes().all()
    unknown = sorted(set(wanted) - set(known))
    if unknown:
        _say(f"no probe observes {', '.join(unknown)}; there are probes for {', '.join(known)}")
        return 2
    with table.watching(wanted or tuple(known)) as show:
        try:
            report, document = verification.verify_throw_away(PROJECT, clauses=wanted, code=upheld(), show=show)
        except (DeploymentFailed, StageFault) as failure:
            _say(f"nothing could be observed: {failure}")
            return COULD_NOT_CHECK
    table.show(report, complete=not wanted)
    if publish:
        document = asyncio.run(verification.publish(document, load_settings()))
        _say("the evidence is on the trust page now")
    if json_file is not None:
        json_file.write_text(json.dumps(document, indent=2) + "\n")
        _say(f"the signed evidence is in {json_file}")
    if report.with_verdict(Verdict.FAIL):
        return FAULT_FOUND
    return COULD_NOT_CHECK if report.with_verdict(Verdict.ERROR) else 0


def _import_rooms() -> None:
    """Import every room, so that each piece of code that upholds a clause is known."""
    import importlib
    import pkgutil

    import operalta

    for module in pkgutil.walk_packages(operalta.__path__, "operalta."):
        if not module.name.startswith("operalta.db.migrations") and module.name != "operalta.__main__":
            importlib.import_module(module.name)


def _say(text: str) -> None:
    print(f"operalta: {text}", file=sys.stderr, flush=True)
