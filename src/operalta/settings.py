"""All configuration, typed, read from the environment (`OPERALTA_…`). Production refuses weak values.

Secrets are files of mode 0600 below `var/secrets`, made at first start by the embedded profile, or given
through `OPERALTA_SECRETS_DIR` by a secret store. No secret has a default. Each profile refuses the other's.
"""

import ipaddress
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import quote, unquote, urlsplit

from pydantic import Field, SecretStr, StringConstraints, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from operalta.kernel.secret_texts import SHORTEST_BYTES, split_mark, weakness
from operalta.terms.registry import upholds

PROFILE_FILE = "profile"
"""Among the secrets: the profile that they were made for."""
SHORTEST_URL_PASSWORD = 12
MINIMUM_BCRYPT_COST = 12
_LARGEST_PORT = 65_535
_IP_WITH_BRACKETS = 6
_NAT64_LENGTHS = frozenset({32, 40, 48, 56, 64, 96})
_NAT64_ZERO_OCTET = 8
_NAT64_BLOCKS = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2000::/3", "fc00::/7")))


class Profile(StrEnum):
    """What the deployment is for."""

    LOCAL = "local"
    PRODUCTION = "production"


class SignUp(StrEnum):
    """Who may open an account."""

    OPEN = "open"
    INVITED = "invited"


class SmsProvider(StrEnum):
    """Who carries SMS."""

    NONE = "none"
    TWILIO = "twilio"
    BIRD = "bird"


class DatabaseRole(StrEnum):
    """The login roles of the database (see `docs/request-flow.md` for what each may do)."""

    OWNER = "operalta_owner"
    SIGNIN = "operalta_signin"
    WEB = "operalta_web"
    WORKER = "operalta_worker"
    DISPATCH = "operalta_dispatch"
    JOB = "operalta_job"
    BACKUP = "operalta_backup"
    VERIFIER = "operalta_verifier"


class SettingsError(Exception):
    """The configuration cannot be used; the message says what to change."""


class Settings(BaseSettings):
    """The deployment's configuration."""

    model_config = SettingsConfigDict(env_prefix="OPERALTA_", extra="ignore", frozen=True)

    profile: Profile = Profile.LOCAL
    var_dir: Path = Field(default=Path("var"), description="Everything the deployment keeps.")
    secrets_dir: Path | None = Field(default=None, description="Secret files; `var/secrets` unless set.")
    host: str = Field(default="127.0.0.1", description="The address the web process listens on.")
    port: Annotated[int, Field(ge=1, le=65535)] = 8080
    public_url: str | None = Field(default=None, description="The address people type, without a path.")
    database_url: SecretStr | None = Field(default=None, description="The owner's, of a server of your own.")
    redis_url: SecretStr | None = Field(default=None, description="Of a Valkey or Redis server of your own.")
    root_key: SecretStr | None = Field(
        default=None, description="The root key itself, 32 random bytes in base64, instead of the file `root-key`."
    )
    root_key_previous: SecretStr | None = Field(
        default=None, description="Another root key that still opens, while one is exchanged for the other."
    )
    kms_key: str | None = Field(
        default=None, description="A key of AWS KMS (id, ARN or alias) that guards the root key, instead of both."
    )
    kms_region: str | None = Field(default=None, description="The region of that key, such as `eu-central-1`.")
    kms_endpoint: str | None = Field(default=None, description="The service's address, unless it is the usual one.")
    kms_access_key: str | None = Field(default=None, description="The id of the access key that asks the service.")
    kms_secret_key: SecretStr | None = Field(default=None, description="The secret of that access key.")
    kms_session_token: SecretStr | None = Field(default=None, description="Its token, where it is a temporary one.")
    sign_up: SignUp = SignUp.OPEN
    smtp_url: SecretStr | None = Field(default=None, description="smtp://user:password@host:port or smtps://…")
    mail_from: str = "Operalta <no-reply@localhost>"
    sms_provider: SmsProvider = Field(default=SmsProvider.NONE, description="Who carries codes by SMS.")
    sms_account: str | None = Field(default=None, description="Twilio's Account SID, Bird's workspace id.")
    sms_sender: str | None = Field(
        default=None, description="Twilio: a number or a messaging service (MG…). Bird: a channel id."
    )
    sms_api_url: str | None = Field(default=None, description="The provider's address, unless it is the usual one.")
    sms_countries: tuple[Annotated[str, StringConstraints(to_upper=True)], ...] = Field(
        default=(), description='The countries that codes may be sent to, such as ["CH", "DE"].'
    )
    security_contact: str = "security@localhost"
    egress_exemptions: tuple[str, ...] = Field(
        default=(), description='Exact destinations that may be local, such as ["127.0.0.1:9000"].'
    )
    dns_resolver: str | None = Field(default=None, description="Address and port of a recursive resolver of your own.")
    nat64_prefixes: tuple[ipaddress.IPv6Network, ...] = Field(
        default=(), description='The NAT64 prefixes of your network, such as ["2001:db8:64::/96"].'
    )
    model_routes: Path | None = Field(
        default=None, description="The file of model routes (`docs/model-routes.md`); only the built-in one without it."
    )
    upload_limit_bytes: Annotated[int, Field(ge=1024)] = 25 * 1024 * 1024
    command_seconds: Annotated[
        int, Field(ge=1, le=600, description="The most seconds that a command of an agent may take.")
    ] = 120
    command_memory_mib: Annotated[
        int,
        Field(ge=128, le=65_536, description="The most memory of such a command, with what it writes, in MiB."),
    ] = 768
    command_hosts: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:[0-9]{1,5})?$")], ...],
        Field(
            max_length=100,
            description='Hosts that commands may reach over HTTPS where a person approved it, such as ["api.example"].',
        ),
    ] = ()
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    bcrypt_cost: Annotated[int, Field(ge=4, le=16, description="Production takes 12 and more.")] = 12
    session_days: Annotated[
        int, Field(ge=1, le=365, description="Days after which a session ends, however often it is used.")
    ] = 90
    database_pool_size: Annotated[int, Field(ge=1, le=200)] = 8

    @model_validator(mode="after")
    def _production_is_strict(self) -> Self:
        if self.profile is not Profile.PRODUCTION:
            return self
        problems: list[str] = []
        if not (self.tls_certificate and self.tls_key) and not self.trusted_proxies:
            problems.append("set OPERALTA_TLS_CERTIFICATE and OPERALTA_TLS_KEY, or OPERALTA_TRUSTED_PROXIES")
        if not (self.public_url or "").startswith("https://"):
            problems.append("set OPERALTA_PUBLIC_URL to the https:// address of this deployment")
        if self.bcrypt_cost < MINIMUM_BCRYPT_COST:
            problems.append(f"set OPERALTA_BCRYPT_COST to {MINIMUM_BCRYPT_COST} or more")
        if self.smtp_url is None:
            problems.append("set OPERALTA_SMTP_URL: the outbox page is for local use only")
        for name, url in (("DATABASE", self.database_url), ("REDIS", self.redis_url), ("SMTP", self.smtp_url)):
            if fault := _weak_password(url):
                problems.append(f"change the password in OPERALTA_{name}_URL: {fault}")
        if problems:
            raise ValueError("production needs more: " + "; ".join(problems))
        return self

    @model_validator(mode="after")
    @upholds("7.2.4")
    def _local_is_no_production(self) -> Self:
        parts = urlsplit(self.public_url or "")
        if self.profile is Profile.LOCAL and parts.scheme == "https" and not is_this_machine(parts.hostname or ""):
            raise ValueError(
                "OPERALTA_PUBLIC_URL is an address of production: set OPERALTA_PROFILE=production, or an address of "
                "this machine"
            )
        return self

    @model_validator(mode="after")
    def _one_root_key(self) -> Self:
        problems: list[str] = []
        if self.root_key is not None and self.kms_key is not None:
            problems.append("set OPERALTA_ROOT_KEY or OPERALTA_KMS_KEY, not both")
        if self.root_key_previous is not None and self.root_key is None:
            problems.append("OPERALTA_ROOT_KEY_PREVIOUS goes with OPERALTA_ROOT_KEY")
        if self.kms_key is not None and not (self.kms_region and self.kms_access_key and self.kms_secret_key):
            problems.append(
                "OPERALTA_KMS_KEY needs OPERALTA_KMS_REGION, OPERALTA_KMS_ACCESS_KEY, OPERALTA_KMS_SECRET_KEY"
            )
        if self.kms_endpoint is not None and not _may_carry_secrets(self.kms_endpoint):
            problems.append("OPERALTA_KMS_ENDPOINT must begin with https://, or be http:// on this machine")
        if problems:
            raise ValueError("the root key needs another look: " + "; ".join(problems))
        return self

    @model_validator(mode="after")
    def _sms_is_complete(self) -> Self:
        problems: list[str] = []
        if self.sms_provider is not SmsProvider.NONE:
            if not self.sms_account:
                problems.append("set OPERALTA_SMS_ACCOUNT to Twilio's Account SID or Bird's workspace id")
            if not self.sms_sender:
                problems.append("set OPERALTA_SMS_SENDER to the number, messaging service or channel to send from")
            if not self.sms_countries:
                problems.append("set OPERALTA_SMS_COUNTRIES to the countries that codes may be sent to")
        if unknown := _unknown_countries(self.sms_countries):
            problems.append(f"OPERALTA_SMS_COUNTRIES takes codes of ISO 3166-1 such as CH, not {', '.join(unknown)}")
        if self.sms_api_url is not None and not _may_carry_secrets(self.sms_api_url):
            problems.append("OPERALTA_SMS_API_URL must begin with https://, or be http:// on this machine")
        if problems:
            raise ValueError("SMS needs more: " + "; ".join(problems))
        return self

    @model_validator(mode="after")
    def _ways_out_make_sense(self) -> Self:
        if self.dns_resolver is not None and _address_and_port(self.dns_resolver) is None:
            raise ValueError("OPERALTA_DNS_RESOLVER takes address and port, such as 192.0.2.53:53 or [2001:db8::53]:53")
        for prefix in self.nat64_prefixes:
            if not _may_translate(prefix):
                raise ValueError(
                    f"OPERALTA_NAT64_PREFIXES takes your network's, of 32, 40, 48, 56, 64 or 96 bits, not {prefix}"
                )
        return self

    @property
    def dns_server(self) -> tuple[str, int] | None:
        """Address and port of the resolver that names are looked up at; None for the system's."""
        return _address_and_port(self.dns_resolver) if self.dns_resolver is not None else None

    @property
    def base_url(self) -> str:
        """The origin that links and cookies belong to."""
        return (self.public_url or f"http://localhost:{self.port}").rstrip("/")

    @property
    def uses_outbox(self) -> bool:
        """Whether mail lands in the operator's outbox page instead of leaving."""
        return self.profile is Profile.LOCAL and self.smtp_url is None

    @property
    def sms_uses_outbox(self) -> bool:
        """Whether SMS land there instead of leaving; mail may leave all the same."""
        return self.profile is Profile.LOCAL and self.sms_provider is SmsProvider.NONE

    @property
    def offers_sms(self) -> bool:
        """Whether codes by SMS can be had: through a provider, or in the outbox of the local profile."""
        return self.sms_provider is not SmsProvider.NONE or self.sms_uses_outbox

    def allows_country(self, country: str) -> bool:
        """Tell whether codes may be sent to a country (ISO 3166-1 alpha-2); the outbox takes all where none is set."""
        return country in self.sms_countries or (self.sms_uses_outbox and not self.sms_countries)

    @property
    def var(self) -> Path:
        """`var_dir`, absolute."""
        return self.var_dir.absolute()

    @property
    def secrets_path(self) -> Path:
        """The folder of secret files."""
        return (self.secrets_dir or self.var / "secrets").absolute()

    @property
    def run_path(self) -> Path:
        """The folder of sockets, locks and process files."""
        return self.var / "run"

    @property
    def shell_state_file(self) -> Path:
        """Where the worker leaves what it found out about the sandbox for commands."""
        return self.run_path / "shell.json"

    @property
    def workspaces_path(self) -> Path:
        """The folder with one folder of files for each company."""
        return self.var / "workspaces"

    @upholds("7.2.1", "7.2.4")
    def secret(self, name: str) -> bytes:
        """Return the secret kept under `name`.

        Raise SettingsError where it is missing, open or weak, or was made for the other profile.
        """
        self._refuse_foreign_folder()
        path = self.secrets_path / name
        try:
            if path.stat().st_mode & 0o077:
                raise SettingsError(f"{path} can be read by others: run `chmod 600` on it")
            value = path.read_bytes().strip()
        except FileNotFoundError:
            raise SettingsError(f"{path} is missing: start once with `./operalta up`, or provide it") from None
        except OSError as error:
            raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
        self.refuse_unfit(str(path), value)
        return value

    @upholds("7.2.1", "7.2.4")
    def refuse_unfit(self, place: str, secret: bytes) -> None:
        """Raise SettingsError for a secret that is weak or was made for the other profile; `place` says where it is."""
        mark, plain = split_mark(secret)
        if mark not in (None, self.profile.value):
            raise SettingsError(f"{place} was made for the {mark} profile: give each profile secrets of its own")
        if len(plain) < SHORTEST_BYTES:
            raise SettingsError(f"{place} is weak: it needs at least {SHORTEST_BYTES} bytes")
        if self.profile is Profile.PRODUCTION and (fault := weakness(secret)):
            raise SettingsError(f"{place} is weak: {fault}. Put 32 random bytes or more in its place")

    def _refuse_foreign_folder(self) -> None:
        """Raise SettingsError for a folder of secrets that the other profile has made."""
        try:
            made_for = (self.secrets_path / PROFILE_FILE).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return
        if made_for != self.profile.value:
            raise SettingsError(
                f"{self.secrets_path} holds secrets of the {made_for or 'other'} profile, and this is "
                f"{self.profile.value}: set OPERALTA_VAR_DIR or OPERALTA_SECRETS_DIR to another folder"
            )

    @upholds("2.1.1")
    def peppers(self) -> dict[int, bytes]:
        """Return the secrets `pepper-1`, `pepper-2` and so on by their number; the highest keys new passwords.

        Raise SettingsError where there is none, or one that is open or weak.
        """
        numbers = sorted(
            int(path.name.removeprefix("pepper-"))
            for path in self.secrets_path.glob("pepper-*")
            if path.name.removeprefix("pepper-").isdecimal()
        )
        return {number: self.secret(f"pepper-{number}") for number in numbers or [1]}

    def database_dsn(self, role: DatabaseRole) -> str:
        """Return the connection address of one database role, password included."""
        if self.database_url is not None and role is DatabaseRole.OWNER:
            return self.database_url.get_secret_value()
        password = quote(self.secret(f"database-{role.value}").decode(), safe="")
        if self.database_url is None:
            return f"postgresql://{role.value}:{password}@/operalta?host={quote(str(self.socket_path), safe='')}"
        parts = urlsplit(self.database_url.get_secret_value())
        host = parts.netloc.rpartition("@")[2]
        query = f"?{parts.query}" if parts.query else ""
        return f"postgresql://{role.value}:{password}@{host}{parts.path}{query}"

    @cached_property
    def socket_path(self) -> Path:
        """The folder of the embedded servers' sockets: `var/run`, or a short one where that is too long."""
        return self.run_path

    @property
    def redis_address(self) -> str:
        """The rate-limit store's URL, password included."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        password = quote(self.secret("redis").decode(), safe="")
        return f"unix://:{password}@{self.socket_path}/valkey.sock"


def is_this_machine(host: str) -> bool:
    """Tell whether `host` (a name, or an address without brackets) is the machine that this runs on."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address_and_port(text: str) -> tuple[str, int] | None:
    """Return what `192.0.2.53:53` or `[2001:db8::53]:53` names; None where `text` is not written like that."""
    host, _, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        return None
    digits = port.isascii() and port.isdecimal() and 1 <= int(port) <= _LARGEST_PORT
    return (str(address), int(port)) if digits and bracketed == (address.version == _IP_WITH_BRACKETS) else None


def _may_translate(prefix: ipaddress.IPv6Network) -> bool:
    """Tell whether IPv4 addresses may stand behind `prefix` (RFC 6052 section 2.2) in a network of one's own."""
    written = prefix.prefixlen in _NAT64_LENGTHS and prefix.network_address.packed[_NAT64_ZERO_OCTET] == 0
    return written and any(prefix.subnet_of(block) for block in _NAT64_BLOCKS)


def _may_carry_secrets(url: str) -> bool:
    """Tell whether what is sent to `url` can be read by its receiver alone."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or parts.username or parts.password)
    return bool(host) and plain and (parts.scheme == "https" or (parts.scheme == "http" and is_this_machine(host)))


def _weak_password(url: SecretStr | None) -> str | None:
    """Return why the password in a URL could be guessed, or None where it could not or there is none."""
    try:
        password = urlsplit(url.get_secret_value()).password if url is not None else None
    except ValueError:
        return "it cannot be read: write special characters as %XX"
    return weakness(unquote(password).encode(), SHORTEST_URL_PASSWORD) if password else None


def _unknown_countries(codes: tuple[str, ...]) -> list[str]:
    if not codes:
        return []
    import phonenumbers  # it takes a moment to load, and most commands send no SMS

    return [code for code in codes if code not in phonenumbers.SUPPORTED_REGIONS]


def load_settings() -> Settings:
    """Read the settings. Raise SettingsError with every fault in them."""
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"  OPERALTA_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            if fault["loc"]
            else f"  {fault['msg']}"
            for fault in error.errors()
        ]
        raise SettingsError("The configuration cannot be used:\n" + "\n".join(faults)) from error
