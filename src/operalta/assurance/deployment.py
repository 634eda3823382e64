"""A throw-away deployment in production profile: servers, TLS, mail, SMS, names, a web process and a worker of its own.

Everything is below one temporary folder and on loopback, and gone when it stops. It is the product as an operator
runs it: the same commands, the same refusals, nothing switched off.
"""

import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from operalta.assurance.carrier import Carrier
from operalta.assurance.elsewhere import Elsewhere
from operalta.assurance.mailbox import Mailbox
from operalta.assurance.model_routes import routes_file
from operalta.assurance.name_server import NameServer
from operalta.db.migrate import migrate
from operalta.kernel import clock
from operalta.operations.secrets import database_passwords, make_missing_secrets
from operalta.operations.servers import EmbeddedPostgres, EmbeddedValkey, ServerFailed, tied_to_parent
from operalta.settings import DatabaseRole, Profile, Settings, SignUp, SmsProvider

WEB, WORKER = "serve", "worker"
HOST = "127.0.0.1"
COUNTRIES = ("CH",)
START_SECONDS = 60.0
_STOP_SECONDS = 10.0
_COMMAND_SECONDS = 8
_COMMAND_MEMORY_MIB = 160
_DOCUMENT_LIFE = timedelta(days=2)


class DeploymentFailed(Exception):  # noqa: N818 - read by people as a sentence
    """The throw-away deployment did not start; the message says which part and what it last said."""


class ThrowAway:
    """One deployment to look at. `start` it, then `stop` it whatever happens."""

    def __init__(self) -> None:
        # Short, because sockets have a limit of about 100 characters.
        self.var = Path(tempfile.mkdtemp(prefix="op-", dir="/tmp"))
        self.mailbox = Mailbox()
        self.carrier = Carrier()
        self.names = NameServer()
        self.elsewhere = Elsewhere()
        self.port = _free_port()
        self.settings = Settings(
            profile=Profile.PRODUCTION,
            var_dir=self.var,
            secrets_dir=None,
            host=HOST,
            port=self.port,
            public_url=f"https://localhost:{self.port}",
            database_url=None,
            redis_url=None,
            sign_up=SignUp.OPEN,
            smtp_url=SecretStr(self.mailbox.url),
            root_key=None,
            root_key_previous=None,
            kms_key=None,
            mail_from="Operalta <no-reply@localhost>",
            sms_provider=SmsProvider.TWILIO,
            sms_account=self.carrier.account,
            sms_sender=self.carrier.sender,
            sms_api_url=self.carrier.url,
            sms_countries=COUNTRIES,
            egress_exemptions=self.elsewhere.exemptions,
            dns_resolver=self.names.address,
            model_routes=self.var / "routes.toml",
            tls_certificate=self.var / "tls.pem",
            tls_key=self.var / "tls.key",
            trusted_proxies=(),
        )
        self.postgres = EmbeddedPostgres(self.settings)
        self.valkey = EmbeddedValkey(self.settings)
        self._parts: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start every part and wait until the deployment is ready. Raise DeploymentFailed or ServerFailed."""
        try:
            for folder in (self.settings.run_path, self.var / "log", self.settings.workspaces_path):
                folder.mkdir(mode=0o700)
            make_missing_secrets(self.settings)
            _write_secret(self.settings.secrets_path / "sms-token", self.carrier.token.encode())
            make_certificate(self.var / "tls.pem", self.var / "tls.key")
            _write_secret(self.var / "routes.toml", routes_file(self.elsewhere).encode())
            for stand_in in (self.mailbox, self.carrier, self.names, self.elsewhere):
                stand_in.start()
            self.valkey.start()
            self.postgres.start()
            self.postgres.make_database()
            migrate(self.settings.database_dsn(DatabaseRole.OWNER), database_passwords(self.settings))
            self.start_part(WORKER)
            self.start_part(WEB)
            self.wait_until_ready()
        except OSError as error:
            raise DeploymentFailed(f"A part of the throw-away deployment did not start: {error.strerror}") from error

    def stop(self) -> None:
        """End every part at once, since nobody waits for its answers any more, and remove everything that it wrote."""
        for process in self._parts.values():
            process.kill()
        for name in list(self._parts):
            self.stop_part(name)
        for server in (self.valkey, self.postgres):
            if server.process is not None:
                # A stopped process takes no other signal.
                server.process.send_signal(signal.SIGCONT)
            server.stop()
        for stand_in in (self.mailbox, self.carrier, self.names, self.elsewhere):
            stand_in.stop()
        shutil.rmtree(self.var, ignore_errors=True)

    def start_part(self, name: str, command: list[str] | None = None) -> None:
        """Start the web process or the worker, by the product's own command unless `command` is given."""
        with self.log_path(name).open("ab") as output:
            self._parts[name] = subprocess.Popen(
                tied_to_parent("TERM", command or [sys.executable, "-m", "operalta", name]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment(),
                process_group=0,
            )

    def pid(self, name: str) -> int | None:
        """Return the process id of the web process or the worker; None where it does not run."""
        process = self._parts.get(name)
        return process.pid if process is not None and process.poll() is None else None

    def stop_part(self, name: str) -> None:
        """Stop the web process or the worker."""
        process = self._parts.pop(name, None)
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)

    def wait_until_ready(self) -> None:
        """Wait until the web process answers over TLS. Raise DeploymentFailed where it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        context = self.tls()
        while time.monotonic() < deadline:
            for name, process in self._parts.items():
                if process.poll() is not None:
                    raise DeploymentFailed(f"The {name} process ended at once: {self._last_words(name)}")
            try:
                with (
                    socket.create_connection((HOST, self.port), timeout=2) as plain,
                    context.wrap_socket(plain, server_hostname="localhost"),
                ):
                    return
            except OSError:
                time.sleep(0.05)
        raise DeploymentFailed(f"The web process does not answer: {self._last_words(WEB)}")

    def environment(self, changes: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment that its processes get: none of this process's own settings, all of its."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OPERALTA_")}
        return (
            inherited
            | {
                "OPERALTA_PROFILE": Profile.PRODUCTION.value,
                "OPERALTA_VAR_DIR": str(self.var),
                "OPERALTA_HOST": HOST,
                "OPERALTA_PORT": str(self.port),
                "OPERALTA_PUBLIC_URL": self.settings.base_url,
                "OPERALTA_TLS_CERTIFICATE": str(self.settings.tls_certificate),
                "OPERALTA_TLS_KEY": str(self.settings.tls_key),
                "OPERALTA_SMTP_URL": self.mailbox.url,
                "OPERALTA_SMS_PROVIDER": self.settings.sms_provider.value,
                "OPERALTA_SMS_ACCOUNT": self.carrier.account,
                "OPERALTA_SMS_SENDER": self.carrier.sender,
                "OPERALTA_SMS_API_URL": self.carrier.url,
                "OPERALTA_SMS_COUNTRIES": json.dumps(COUNTRIES),
                "OPERALTA_COMMAND_SECONDS": str(_COMMAND_SECONDS),
                "OPERALTA_COMMAND_MEMORY_MIB": str(_COMMAND_MEMORY_MIB),
                "OPERALTA_EGRESS_EXEMPTIONS": json.dumps(self.settings.egress_exemptions),
                "OPERALTA_DNS_RESOLVER": self.names.address,
                "OPERALTA_MODEL_ROUTES": str(self.settings.model_routes),
            }
            | dict(changes or {})
        )

    def tls(self) -> ssl.SSLContext:
        """Return a client's context that trusts this deployment and nothing else."""
        return ssl.create_default_context(cafile=str(self.settings.tls_certificate))

    def log_path(self, name: str) -> Path:
        """Return where a part's output goes."""
        return self.var / "log" / f"{name}.log"

    def _last_words(self, name: str) -> str:
        lines = self.log_path(name).read_text(errors="replace").splitlines()
        return lines[-1][:400] if lines else "it said nothing"


def make_certificate(certificate_path: Path, key_path: Path) -> None:
    """Write a certificate for localhost that signs itself, and its key, to last for this run."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = clock.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _DOCUMENT_LIFE)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(HOST))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    _write_secret(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    certificate_path.write_bytes(certificate.public_bytes(Encoding.PEM))


def _write_secret(path: Path, secret: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(secret)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


__all__ = ["WEB", "WORKER", "DeploymentFailed", "ServerFailed", "ThrowAway", "make_certificate"]
