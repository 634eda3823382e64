"""`operalta doctor`: what is wrong with settings, secrets, versions, servers, sandbox, model routes; how to mend it.

It only looks. Each finding is a sentence for whoever runs the deployment; no secret is in any.
"""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psycopg

from operalta.agents.model_routes.examination import examine_routes
from operalta.db.migrate import head
from operalta.kernel.errors import Refusal
from operalta.operations import store
from operalta.operations.health import OPTIONAL, RUNNING, parts
from operalta.operations.root_keys import root_keys
from operalta.operations.rotation.deployment import COMPANY_KEYS, SIGNING_KEYS
from operalta.operations.secrets import SECRET_NAMES
from operalta.sandbox.shell.state import read_state
from operalta.settings import DatabaseRole, Profile, Settings, SettingsError, SmsProvider, load_settings
from operalta.terms.registry import upholds

OLDEST_PYTHON = (3, 11)
OLDEST_POSTGRESQL = 15
_OTHERS = 0o077
_PROGRAM_SECONDS = 5


class Verdict(StrEnum):
    """What the doctor thinks of one thing."""

    WELL = "well"
    WRONG = "wrong"
    UNKNOWN = "could not be checked"


@dataclass(frozen=True, slots=True)
class Examined:
    """One thing that was looked at. `mend` is empty where nothing needs to be done."""

    part: str
    verdict: Verdict
    says: str
    mend: str = ""


@upholds("7.2.1", "7.2.4")
def examine() -> list[Examined]:
    """Look at everything and return what was found, part by part."""
    try:
        settings = load_settings()
    except SettingsError as error:
        found = Examined("settings", Verdict.WRONG, str(error), "change the variables that it names")
        return [found, *_versions()]
    return [
        *_settings(settings),
        *_secrets(settings),
        *_permissions(settings),
        *_versions(),
        *_database(settings),
        *_servers(settings),
        *_sandbox(settings),
        *_model_routes(settings),
    ]


def _settings(settings: Settings) -> Iterator[Examined]:
    yield Examined("settings", Verdict.WELL, f"they can be used; the profile is {settings.profile.value}")
    if settings.profile is not Profile.PRODUCTION:
        return
    for name, value in (("SECURITY_CONTACT", settings.security_contact), ("MAIL_FROM", settings.mail_from)):
        if "localhost" in value:
            yield Examined(
                "settings",
                Verdict.WRONG,
                f"OPERALTA_{name} is an address that nobody can write to: {value}",
                f"set OPERALTA_{name} to an address of yours",
            )
    for name, path in (("TLS_CERTIFICATE", settings.tls_certificate), ("TLS_KEY", settings.tls_key)):
        if path is not None and not os.access(path, os.R_OK):
            yield Examined(
                "settings",
                Verdict.WRONG,
                f"OPERALTA_{name} names {path}, which cannot be read",
                "let the user that Operalta runs as read it",
            )


def _secrets(settings: Settings) -> Iterator[Examined]:
    names = [*SECRET_NAMES, *(f"database-{role.value}" for role in DatabaseRole)]
    if settings.sms_provider is not SmsProvider.NONE:
        names.append("sms-token")
    if not settings.secrets_path.is_dir():
        says = f"{settings.secrets_path} is not there"
        yield Examined("secrets", Verdict.WRONG, says, "run `./operalta up` or `operalta migrate` once")
        return
    faults: list[str] = []
    for name in names:
        try:
            settings.secret(name)
        except SettingsError as error:
            faults.append(str(error))
    for fault in dict.fromkeys(faults):
        says, _, mend = fault.partition(": ")
        yield Examined("secrets", Verdict.WRONG, says, mend or "put 32 random bytes or more in its place")
    try:
        root_keys(settings)
    except (SettingsError, Refusal) as error:
        yield Examined("secrets", Verdict.WRONG, f"the root key: {error}", "see docs/keys.md")
    else:
        if not faults:
            yield Examined("secrets", Verdict.WELL, f"{len(names)} files and the root key are fit to be used")


def _permissions(settings: Settings) -> Iterator[Examined]:
    wrong = 0
    folders = [settings.var, settings.secrets_path, settings.var / COMPANY_KEYS, settings.var / SIGNING_KEYS]
    for path in (path for folder in folders if folder.is_dir() for path in _private(folder, settings)):
        status = path.lstat()
        if status.st_mode & _OTHERS and not path.is_symlink():
            wrong += 1
            mode = "700" if path.is_dir() else "600"
            yield Examined("permissions", Verdict.WRONG, f"{path} is open to others", f"run `chmod {mode} {path}`")
        if status.st_uid != settings.var.stat().st_uid:
            wrong += 1
            yield Examined(
                "permissions",
                Verdict.WRONG,
                f"{path} belongs to another user than {settings.var}",
                f"run `chown --reference={settings.var} {path}`",
            )
    if not wrong:
        yield Examined("permissions", Verdict.WELL, "folders and key files are for their own user alone")


def _private(folder: Path, settings: Settings) -> Iterator[Path]:
    yield folder
    if folder != settings.var:
        try:
            yield from sorted(folder.rglob("*"))
        except OSError:
            return


def _versions() -> Iterator[Examined]:
    python = sys.version_info[:2]
    verdict = Verdict.WELL if python >= OLDEST_PYTHON else Verdict.WRONG
    yield Examined(
        "versions", verdict, f"Python {python[0]}.{python[1]}", "" if verdict is Verdict.WELL else "use 3.11"
    )
    program = shutil.which("bwrap")
    if program is None:
        yield Examined("versions", Verdict.WRONG, "bubblewrap is not installed", "install it: agents' commands need it")
        return
    try:
        told = subprocess.run(
            [program, "--version"], capture_output=True, text=True, check=True, timeout=_PROGRAM_SECONDS
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        yield Examined("versions", Verdict.WRONG, f"{program} does not run", "install bubblewrap again")
        return
    yield Examined("versions", Verdict.WELL, told)


def _database(settings: Settings) -> Iterator[Examined]:
    try:
        with psycopg.connect(settings.database_dsn(DatabaseRole.OWNER), connect_timeout=5) as connection:
            number, revision = connection.info.server_version // 10_000, store.revision(connection)
    except (psycopg.Error, SettingsError) as error:
        says = f"the database does not let its owner in ({type(error).__name__})"
        yield Examined(
            "database", Verdict.UNKNOWN, says, "start it with `./operalta up`, or check OPERALTA_DATABASE_URL"
        )
        return
    old = number < OLDEST_POSTGRESQL
    yield Examined(
        "database",
        Verdict.WRONG if old else Verdict.WELL,
        f"PostgreSQL {number}",
        f"Operalta needs {OLDEST_POSTGRESQL} or newer" if old else "",
    )
    behind = revision != head()
    yield Examined(
        "database",
        Verdict.WRONG if behind else Verdict.WELL,
        f"its schema is at revision {revision or 'none'}",
        f"this release needs {head()}: run `operalta migrate`, or the release that fits" if behind else "",
    )


def _servers(settings: Settings) -> Iterator[Examined]:
    for name, state in asyncio.run(parts(settings)).items():
        if name in OPTIONAL:
            continue
        mend = "" if state == RUNNING else "start it with `./operalta up`; what it last said is in var/log"
        yield Examined("servers", Verdict.WELL if state == RUNNING else Verdict.WRONG, f"{name}: {state}", mend)


def _sandbox(settings: Settings) -> Iterator[Examined]:
    if not settings.shell_state_file.exists():
        says = "no worker has tested the sandbox of commands yet"
        yield Examined("sandbox", Verdict.UNKNOWN, says, "start a worker: it tests the sandbox first")
        return
    shell = read_state(settings.shell_state_file)
    if shell.available:
        yield Examined("sandbox", Verdict.WELL, f"it held {shell.attempts} attempts to get out")
    else:
        yield Examined("sandbox", Verdict.WRONG, shell.reason, "see the worker's log; agents run no commands meanwhile")


def _model_routes(settings: Settings) -> Iterator[Examined]:
    count, faults = examine_routes(settings)
    for fault in faults:
        yield Examined("model routes", Verdict.WRONG, fault.says, fault.mend)
    if settings.model_routes is None:
        yield Examined("model routes", Verdict.WELL, "no file is named, so agents have the built-in route alone")
    elif not faults:
        says = f"{settings.model_routes} has {count}, each with its key and its approval record"
        yield Examined("model routes", Verdict.WELL, says)
