"""Writes `docs/settings.md` from `operalta.settings.Settings`: python -m scripts.settings_reference."""

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, get_args

from pydantic.fields import FieldInfo

from operalta.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "settings.md"
_MEBIBYTE = 1024 * 1024

MEANINGS: Mapping[str, str] = MappingProxyType(
    {
        "profile": "`production` refuses weak values: see below.",
        "var_dir": "The folder of everything the deployment keeps: data, secrets, logs, sockets. Its path has 77 "
        "characters at most, because sockets stand in it.",
        "secrets_dir": "A folder of secret files of your own; `var/secrets` unless set.",
        "host": "The address the web process listens on. Other machines need TLS: browsers keep the session's cookies "
        "for HTTPS and for this machine only.",
        "public_url": "The address people type, without a path, such as `https://operalta.example`; "
        "`http://localhost:<port>` unless set.",
        "database_url": "A PostgreSQL of your own, as the owner of an empty database who may make roles: "
        "`postgresql://owner:password@host/operalta`. The embedded one unless set.",
        "redis_url": "A Valkey, or a Redis from version 7 on, that evicts nothing: `redis://`, `rediss://`, `unix://`, "
        "`redis+cluster://` or `rediss+cluster://`. The embedded one unless set.",
        "smtp_url": "The relay that mail leaves by: `smtp://user:password@host:port`, which changes to TLS first, or "
        "`smtps://…`. Without it the local profile keeps mail in the operator's outbox.",
        "kms_endpoint": "The key service's address where it is not the usual one. It may lie on a private network, and "
        "be `http://` on this machine alone.",
        "sms_provider": "Who carries codes by SMS. With `none` the local profile keeps them in the operator's outbox, "
        "and production offers none.",
        "sms_account": "Twilio: the Account SID. Bird: the workspace's id.",
        "sms_sender": "Twilio: the number that codes come from, or the SID of a messaging service (`MG…`). Bird: the "
        "id of the SMS channel.",
        "sms_api_url": "The provider's address where it is not the usual one. It may lie on a private network, and be "
        "`http://` on this machine alone.",
        "sms_countries": 'The countries that codes may be sent to (ISO 3166-1), such as `["CH", "DE"]`. A provider '
        "needs at least one.",
        "egress_exemptions": "Exact destinations on private networks that agents may reach all the same, such as "
        '`["127.0.0.1:9000"]`.',
        "dns_resolver": "The recursive resolver that names of outgoing requests are looked up at, as address and port, "
        "such as `192.0.2.53:53` or `[2001:db8::53]:53`. It is asked for names as they stand: without search domains, "
        "and without `/etc/hosts`. The system's resolver unless set.",
        "nat64_prefixes": "The prefixes behind which your network reaches IPv4 (RFC 6052), such as "
        '`["2001:db8:64::/96"]`. Addresses in them are as public as the IPv4 address that they hold. `64:ff9b::/96` '
        "and `64:ff9b:1::/96` need not be named; a network with a prefix of its own should name it, or private "
        "addresses behind it cannot be told.",
        "bcrypt_cost": "How costly it is to guess at passwords, 4 to 16; production takes 12 or more.",
        "port": "The port the web process listens on, 1 to 65535.",
        "sign_up": "`open`: everybody may open an account and found a company. `invited`: accounts come by invitation, "
        "and the operator alone founds companies.",
        "mail_from": "The sender of every mail.",
        "security_contact": "The mail address in `/.well-known/security.txt` and on the trust page.",
        "upload_limit_bytes": "The largest file that can be uploaded, at least 1024.",
        "tls_certificate": "A PEM file with the certificate chain; set it together with the key.",
        "tls_key": "A PEM file with the certificate's private key.",
        "trusted_proxies": "Networks of reverse proxies whose `X-Forwarded-For` is believed, such as "
        '`["10.0.0.0/8"]`. No other peer is believed.',
        "database_pool_size": "Connections for each database role and process, 1 to 200.",
    }
)
"""What each setting means, for people who run a deployment; a field without an entry shows its own description."""

_HEAD = """# Settings

Written by `scripts/settings_reference.py` from `src/operalta/settings.py`; a test holds the two together.

All configuration comes from environment variables. Nothing needs to be set to try Operalta. Lists are written as
JSON: `OPERALTA_EGRESS_EXEMPTIONS='["127.0.0.1:9000"]'`.

| variable | default | meaning |
|---|---|---|
"""
_TAIL = """
## What production asks for

With `OPERALTA_PROFILE=production` a process ends at once, with the list of what is missing, unless

- TLS is there: `OPERALTA_TLS_CERTIFICATE` and `OPERALTA_TLS_KEY`, or `OPERALTA_TRUSTED_PROXIES` where a proxy ends it;
- `OPERALTA_PUBLIC_URL` begins with `https://`;
- `OPERALTA_BCRYPT_COST` is 12 or more;
- `OPERALTA_SMTP_URL` is set: the outbox page is for local use only;
- no secret, and no password in a URL, is short, a sample or a pattern;
- the secrets are production's own.

Each profile refuses what belongs to the other. What `up` and `migrate` make begins with the profile's name, and the
file `profile` beside the secrets says whose folder it is. The local profile refuses an `https://` address that is not
of this machine.

With `OPERALTA_SMS_PROVIDER` any profile asks for `OPERALTA_SMS_ACCOUNT`, `OPERALTA_SMS_SENDER`,
`OPERALTA_SMS_COUNTRIES` and the provider's secrets.

## Secrets

Secrets are files, one each, that only their owner may read; a file that others can read, or with fewer than 32 bytes,
is refused. `up` and `migrate` make what is missing. `operalta doctor` says what is wrong with them. To bring your own,
put them into one folder and name it in `OPERALTA_SECRETS_DIR`.

| file | is for |
|---|---|
| `root-key` | wraps all other [keys](keys.md): companies' keys, signing keys, the secrets of authenticator apps |
| `root-key-previous-…` | earlier root keys, for ten minutes after a rotation |
| `root-key.kms` | instead of both: the root key as AWS KMS has encrypted it |
| `pepper-1` | goes into every password's hash; without it no password can be checked |
| `refresh-key` | the secrets of sessions are derived from it; a new one signs everybody out |
| `limit-key` | keys the digests under which rate limits count |
| `code-key` | keys the digests of one-time and recovery codes, and open consents; with a new one they become void |
| `sms-token` | what the SMS provider knows us by: Twilio's auth token, Bird's access key; you provide it |
| `sms-signing-key` | Bird alone: the key of its webhook subscription; you provide it |
| `redis` | the password of the embedded Valkey |
| `database-postgres` | the superuser's password of the embedded PostgreSQL |
| `database-operalta_…` | one password for each database role |

## For the setup script and the tests

| variable | meaning |
|---|---|
| `OPERALTA_PYTHON` | the Python that `./operalta` makes its environment with |
| `OPERALTA_CHROMIUM` | the Chromium that the tests drive; `/usr/bin/chromium` unless set |
| `OPERALTA_WITHOUT_BROWSER` | `1` leaves out the tests that need a browser |
"""


def page() -> str:
    """Return the page's text."""
    rows = (_row(name, field) for name, field in Settings.model_fields.items())
    return _HEAD + "".join(rows) + _TAIL


def _row(name: str, field: FieldInfo) -> str:
    meaning = MEANINGS.get(name) or field.description
    if not meaning:
        raise SystemExit(f"{name} has no description: give it one in the settings, or in MEANINGS here.")
    return f"| `OPERALTA_{name.upper()}` | {_default(field)} | {_values(field)}{meaning} |\n"


def _values(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(f"`{member.value}`" for member in annotation) + ". "
    return ""


def _default(field: FieldInfo) -> str:
    value: Any = field.default
    if value is None and NoneType in get_args(field.annotation):
        return "not set"
    if isinstance(value, StrEnum):
        return f"`{value.value}`"
    if isinstance(value, tuple):
        return f"`{json.dumps(value)}`"
    if isinstance(value, int) and value >= _MEBIBYTE and value % _MEBIBYTE == 0:
        return f"{value} ({value // _MEBIBYTE} MiB)"
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} is written\n")
