"""How the transport is observed: handshakes, plain HTTP, and the header that forbids it."""

import asyncio
import re
import socket
import ssl
import sys
import warnings

from operalta.assurance.deployment import HOST
from operalta.assurance.registry import ProbeContext, probe
from operalta.assurance.rules import Observations
from operalta.assurance.stage import API, Stage, staged

_YEAR_SECONDS = 365 * 24 * 3600
_WEAK_SUITES = {
    "without encryption": "eNULL",
    "without authentication": "aNULL",
    "export grade": "EXPORT",
    "RC4": "RC4",
    "triple DES": "3DES",
    "without forward secrecy": "kRSA",
    "CBC with SHA-1": "ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES256-SHA:ECDHE-RSA-AES128-SHA",
}
_REFUSED = "refused by the server"
_NOT_OFFERED = "not known to this client, so nobody can be offered it here"


@probe("1.1.1")
async def modern_tls(context: ProbeContext) -> Observations:
    """Shake hands with each version and with weak suites; speak plain HTTP; start production without TLS."""
    stage = staged(context)
    seen = Observations()
    port = stage.deployment.port
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        said = await asyncio.to_thread(_shake_hands, stage, port, version, "ALL:@SECLEVEL=0")
        seen.expect(f"{version.name} is spoken", said == version.name.replace("_", "."), said)
    for version in _old_versions():
        said = await asyncio.to_thread(_shake_hands, stage, port, version, "ALL:@SECLEVEL=0")
        seen.expect(f"{version.name} is refused", said == _REFUSED, said)
    for name, suites in _WEAK_SUITES.items():
        said = await asyncio.to_thread(_shake_hands, stage, port, ssl.TLSVersion.TLSv1_2, f"{suites}:@SECLEVEL=0")
        seen.expect(f"suites {name} are refused", said in {_REFUSED, _NOT_OFFERED}, said)
    strong = "ECDHE+AESGCM:ECDHE+CHACHA20"
    said = await asyncio.to_thread(_shake_hands, stage, port, ssl.TLSVersion.TLSv1_2, strong)
    seen.expect("TLS 1.2 has authenticated encryption with forward secrecy", said == "TLSv1.2", said)
    plain = await asyncio.to_thread(_speak_plainly, port)
    redirects = re.match(rb"HTTP/1\.[01] 30[18] ", plain) is not None and b"location: https://" in plain.lower()
    seen.expect("plain HTTP on the port gets nothing, or a redirect to HTTPS", not plain or redirects, len(plain))
    refused, words = await refuses_to_start(stage, {"OPERALTA_TLS_CERTIFICATE": None, "OPERALTA_TLS_KEY": None})
    seen.expect("production does not start without TLS or a trusted proxy", refused and "TLS" in words, refused)
    return seen


@probe("1.1.2")
async def transport_security_header(context: ProbeContext) -> Observations:
    """Collect answers of every kind, refusals and redirects included, and read the header of each."""
    stage = staged(context)
    seen = Observations()
    outsider = stage.browser()
    company = stage.company.slug
    answers = {
        "a page": await outsider.get("/sign-in"),
        "a redirect": await outsider.get("/"),
        "a page nobody may see unknown": await outsider.get(f"/c/{company}/memory"),
        "no such page": await outsider.get("/no-such-page"),
        "no such API": await outsider.get(f"{API}/nothing"),
        "health": await outsider.get("/healthz"),
        "security.txt": await outsider.get("/.well-known/security.txt"),
        "the API's description": await outsider.get("/api/openapi.json"),
        "no session": await outsider.get(f"{API}/me"),
        "unreadable input": await outsider.post(f"{API}/auth/sign-in", {"nothing": 1}),
        "another method": await outsider.send("DELETE", "/sign-in"),
        "another site's request": await outsider.send("POST", "/sign-out", headers={"origin": "https://evil.example"}),
        "another host's name": await outsider.send("GET", "/", headers={"host": "evil.example"}),
        "too large a body": await outsider.send("POST", f"{API}/auth/sign-in", content=b"x" * 300_000),
        "one's own data": await stage.founder.browser.get(f"{API}/me"),
        "an asset": await outsider.get(await _an_asset(stage)),
    }
    for name, answer in answers.items():
        value = answer.header("strict-transport-security")
        seen.expect(f"{name} carries it for a year and all subdomains", _is_strict(value), f"{answer.status}: {value}")
    raw = await asyncio.to_thread(_speak_badly, stage)
    told = raw.partition(b"\r\n\r\n")[0].decode("latin-1")
    value = next((line.partition(":")[2] for line in told.splitlines() if _names_it(line)), "")
    seen.expect("a request that is no HTTP is answered with it too", not raw or _is_strict(value), told[:120])
    return seen


async def refuses_to_start(stage: Stage, changes: dict[str, str | None]) -> tuple[bool, str]:
    """Start the web process with changed settings; return whether it ended by itself with a refusal, and its words.

    None takes a setting away.
    """
    environment = stage.deployment.environment()
    for name, value in changes.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value
    # A port of its own: where it starts after all, it must not fail for the wrong reason.
    port = _spare_port()
    environment["OPERALTA_PORT"] = str(port)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "operalta",
        "serve",
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    words = asyncio.create_task(process.communicate())
    try:
        while not words.done():
            if await asyncio.to_thread(_listens, port):
                return False, "it started"
            await asyncio.wait({words}, timeout=0.2)
    finally:
        if process.returncode is None:
            process.kill()
        _, errors = await words
    return process.returncode == 1, errors.decode(errors="replace")[:2_000]


def _listens(port: int) -> bool:
    with socket.socket() as knocking:
        knocking.settimeout(1)
        return knocking.connect_ex((HOST, port)) == 0


def _old_versions() -> tuple[ssl.TLSVersion, ...]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1


def _shake_hands(stage: Stage, port: int, version: ssl.TLSVersion, suites: str) -> str:
    """Return the version that was agreed on, or how it was not. Runs in a thread."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(str(stage.settings.tls_certificate))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client.minimum_version = client.maximum_version = version
    try:
        client.set_ciphers(suites)
    except ssl.SSLError:
        return _NOT_OFFERED
    try:
        with (
            socket.create_connection((HOST, port), timeout=5) as connection,
            client.wrap_socket(connection, server_hostname="localhost") as secured,
        ):
            return secured.version() or "nothing"
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError, ConnectionError):
        return _REFUSED  # the other side hung up during the handshake; Python 3.11.2 calls that a zero return
    except ssl.SSLError as error:
        # An alert from the other side; whatever else fails, fails on this side and proves nothing.
        return _REFUSED if "ALERT" in (error.reason or "") else f"failed on this side: {error.reason}"


def _speak_plainly(port: int) -> bytes:
    return _say_and_listen(
        socket.create_connection((HOST, port), timeout=5), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    )


def _speak_badly(stage: Stage) -> bytes:
    connection = socket.create_connection((HOST, stage.deployment.port), timeout=5)
    secured = stage.deployment.tls().wrap_socket(connection, server_hostname="localhost")
    return _say_and_listen(secured, b"NOT HTTP AT ALL\r\n\r\n")


def _say_and_listen(connection: socket.socket, words: bytes) -> bytes:
    heard = b""
    with connection:
        try:
            connection.sendall(words)
            while part := connection.recv(4_096):
                heard += part
        except (OSError, TimeoutError):
            return heard
    return heard


def _names_it(line: str) -> bool:
    return line.lower().startswith("strict-transport-security:")


def _is_strict(value: str) -> bool:
    age = re.search(r"max-age=(\d+)", value)
    return age is not None and int(age[1]) >= _YEAR_SECONDS and "includesubdomains" in value.lower()


async def _an_asset(stage: Stage) -> str:
    page = (await stage.browser().get("/sign-in")).body.decode()
    found = re.search(r'"(/static/[^"]+)"', page)
    return found[1] if found else "/static/none"


def _spare_port() -> int:
    with socket.socket() as spare:
        spare.bind((HOST, 0))
        port: int = spare.getsockname()[1]
        return port
