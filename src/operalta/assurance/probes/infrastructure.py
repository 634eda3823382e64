"""How the ground is observed: who listens where, where secrets lie, and what production refuses."""

import asyncio
import os
import re
import socket
import stat
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from operalta.assurance.client import ACCESS
from operalta.assurance.forgery import forged_tokens
from operalta.assurance.probes.identity import search_files
from operalta.assurance.probes.transport import refuses_to_start
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Stage, staged
from operalta.operations.secrets import make_missing_secrets
from operalta.settings import PROFILE_FILE, Profile, Settings

_LISTENING = "0A"
_SIGNING = ("root-key", "pepper-1", "refresh-key", "limit-key", "code-key")
_NOT_SIGNED_IN = 401


@probe("4.2.2")
async def data_tier_is_closed(context: ProbeContext) -> Observations:
    """Look at what the database and the store listen on, and knock without a password."""
    stage = staged(context)
    seen = Observations()
    for name, process in (("database", stage.deployment.postgres.process), ("store", stage.deployment.valkey.process)):
        if not seen.expect(f"the {name} runs", process is not None) or process is None:
            continue
        ports = await asyncio.to_thread(network_listeners, process.pid)
        seen.expect(f"the {name} listens on no network address", not ports, "; ".join(ports) or "sockets only")
    folder = stage.settings.socket_path
    closed = stat.S_IMODE(stage.deployment.var.stat().st_mode) & 0o077 == 0
    seen.expect("their sockets lie in a folder of the deployment's user alone", closed, oct(folder.stat().st_mode))
    said = await asyncio.to_thread(_ask_store, folder / "valkey.sock")
    seen.expect("the store answers nothing without its password", said.startswith(b"-NOAUTH"), said[:20])
    for user in ("postgres", "operalta_owner", "operalta_web"):
        said = await asyncio.to_thread(_knock, folder, user)
        seen.expect(f"the database lets {user} in with a password only", said == "refused", said)
    return seen


@probe("7.2.1")
async def secrets_stay_in_their_place(context: ProbeContext) -> Observations:
    """Search the database's files, logs, files and the code for the deployment's own secrets; start with a weak one."""
    stage = staged(context)
    seen = Observations()
    files = [
        path
        for path in stage.settings.secrets_path.iterdir()
        if path.is_file() and path.name != PROFILE_FILE and not path.name.startswith(".")
    ]
    open_ones = [path.name for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    seen.expect("every secret is a file for its owner alone", bool(files) and not open_ones, "; ".join(open_ones))
    signing = [stage.settings.secret(name) for name in _SIGNING]
    everything = [path.read_bytes().strip() for path in files]
    for name, folder, wanted in (
        ("the database's files hold no signing, root or scope secret", stage.deployment.var / "postgres", signing),
        ("the logs hold no secret", stage.deployment.var / "log", everything),
        ("the companies' files hold none", stage.settings.workspaces_path, everything),
        ("the rate-limit store's data holds no signing secret", stage.deployment.var / "valkey", signing),
        ("the code holds none of them", stage.root / "src", everything),
    ):
        count, hits = await asyncio.to_thread(search_files, folder, wanted)
        seen.expect(name, hits == 0, f"{count} files, {hits} hits")
    patterned = await asyncio.to_thread(_secret_shapes, stage.root / "src")
    seen.expect("the code holds nothing that looks like a key", not patterned, "; ".join(patterned[:3]) or "none")
    environments = await asyncio.to_thread(_environments)
    leaked = sum(secret in environments for secret in everything)
    seen.expect("no process carries one in its environment", leaked == 0, leaked)
    weak = await asyncio.to_thread(_weak_folder, stage)
    refused, words = await refuses_to_start(stage, {"OPERALTA_SECRETS_DIR": str(weak)})
    seen.expect("production does not start with a weak secret", refused and "weak" in words, words.strip()[-120:])
    return seen


@probe("7.2.4")
async def production_is_apart(context: ProbeContext) -> Observations:
    """Start production with settings of development; present a token of the other profile."""
    stage = staged(context)
    seen = Observations()
    foreign = await asyncio.to_thread(_local_folder, stage)
    trials: dict[str, tuple[dict[str, str | None], str]] = {
        "production does not start with a cheap password hash": ({"OPERALTA_BCRYPT_COST": "4"}, "BCRYPT_COST"),
        "production does not start with the development outbox": ({"OPERALTA_SMTP_URL": None}, "SMTP_URL"),
        "production does not start with a plain address": (
            {"OPERALTA_PUBLIC_URL": "http://localhost:8080"},
            "PUBLIC_URL",
        ),
        "production does not start with secrets of development": (
            {"OPERALTA_SECRETS_DIR": str(foreign)},
            "local profile",
        ),
        "development does not start with secrets of production": ({"OPERALTA_PROFILE": "local"}, "production profile"),
    }
    # Each is a process of its own, which takes seconds to import what it needs.
    ended = await asyncio.gather(*(refuses_to_start(stage, changes) for changes, _ in trials.values()))
    for (name, (_, word)), (refused, words) in zip(trials.items(), ended, strict=True):
        seen.expect(name, refused and word in words, words.strip()[-120:])
    tokens = forged_tokens(stage.settings, stage.founder.browser.cookies[ACCESS])
    stranger = stage.browser()
    stranger.cookies[ACCESS] = tokens["of a deployment in another profile"]
    answer = await stranger.get(f"{API}/me")
    seen.expect("a token of the other profile opens nothing", answer.status == _NOT_SIGNED_IN, answer.status)
    outbox = await stage.founder.browser.get("/outbox")
    seen.expect("there is no outbox page", outbox.status != 200, outbox.status)  # noqa: PLR2004 - OK
    return seen


def network_listeners(pid: int) -> list[str]:
    """Return the network addresses that a process and its children listen on."""
    inodes = {
        found[1]
        for process in _family(pid)
        for descriptor in _listed(Path(f"/proc/{process}/fd"))
        if (found := re.fullmatch(r"socket:\[(\d+)\]", descriptor))
    }
    listeners: list[str] = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and fields[9] in inodes:
                listeners.append(fields[1])
    return listeners


def _family(pid: int) -> set[int]:
    family = {pid}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # gone since it was listed
        if int(fields[1]) == pid:
            family.add(int(path.parent.name))
    return family


def _listed(folder: Path) -> list[str]:
    found: list[str] = []
    try:
        for path in folder.iterdir():
            try:
                found.append(str(path.readlink()))
            except OSError:
                continue  # closed since it was listed
    except OSError:
        return found
    return found


def _ask_store(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(b"KEYS *\r\n")
        return connection.recv(200)


def _knock(folder: Path, user: str) -> str:
    try:
        with psycopg.connect(make_conninfo(host=str(folder), user=user, dbname="operalta"), connect_timeout=5):
            return "let in"
    except psycopg.OperationalError:
        return "refused"


def _secret_shapes(folder: Path) -> list[str]:
    shapes = re.compile(
        rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/]{40}|\bAKIA[0-9A-Z]{16}\b|\bghp_[A-Za-z0-9]{36}"
    )
    return [path.name for path in folder.rglob("*.*") if path.is_file() and shapes.search(path.read_bytes())]


def _environments() -> bytes:
    """Return the environments of every process of this user, this one's included."""
    collected = b""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if path.stat().st_uid == os.getuid():
                collected += path.read_bytes()
        except OSError:
            continue  # gone since it was listed, or not ours to read
    return collected


def _local_folder(stage: Stage) -> Path:
    """Make the secrets that a local deployment would make."""
    folder = stage.deployment.var / "local-secrets"
    make_missing_secrets(Settings(profile=Profile.LOCAL, secrets_dir=folder, public_url=None))
    return folder


def _weak_folder(stage: Stage) -> Path:
    folder = stage.deployment.var / "weak-secrets"
    folder.mkdir(mode=0o700)
    for path in stage.settings.secrets_path.iterdir():
        content = b"changeme" if path.name == "pepper-1" else path.read_bytes()
        copied = folder / path.name
        copied.touch(mode=0o600)
        copied.write_bytes(content)
    return folder
