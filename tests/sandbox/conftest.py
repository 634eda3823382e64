"""What the tests of the sandbox share: servers, logs and certificates; a workspace, and what lies outside."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from operalta.sandbox.files import Workspace
from tests.sandbox.staging import Authority, Log, LoopbackServer, StartServer

SECRET = b"outside: not for the workspace"


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    running: list[asyncio.Server] = []

    async def start(tls: ssl.SSLContext | None = None) -> LoopbackServer:
        server = LoopbackServer()
        if tls is not None:
            tls.sni_callback = lambda _socket, name, _context: server.server_names.append(str(name))
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
        running.append(listening)
        server.port = listening.sockets[0].getsockname()[1]
        return server

    yield start
    for listening in running:
        listening.close()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())

    def issue(name: str, public: ec.EllipticCurvePublicKey, *, is_authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(key, hashes.SHA256())
        )

    def serving(name: str) -> ssl.SSLContext:
        own = ec.generate_private_key(ec.SECP256R1())
        file = tmp_path / f"{name}.pem"
        file.write_bytes(
            own.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + issue(name, own.public_key(), is_authority=False).public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    root = issue("authority", key.public_key(), is_authority=True)
    client = ssl.create_default_context(cadata=root.public_bytes(serialization.Encoding.PEM).decode("ascii"))
    return Authority(client, serving)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(SECRET)
    return tmp_path / "workspaces" / "company"


@pytest.fixture
def outside(root: Path) -> Path:
    return root.parent.parent / "outside"


@pytest.fixture
def workspace(root: Path) -> Iterator[Workspace]:
    with Workspace(root) as opened:
        yield opened
