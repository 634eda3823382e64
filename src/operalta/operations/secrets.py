"""The secrets of the embedded profile: made once, at first start, as files that only their owner may read."""

import os
import secrets
from pathlib import Path

from operalta.kernel.secret_texts import marked
from operalta.operations.root_keys import root_source
from operalta.sealing.keys import new_root_key_text
from operalta.sealing.root_sources import FILE_NAME, FileRoots, ServiceRoots
from operalta.settings import PROFILE_FILE, DatabaseRole, Settings

SECRET_NAMES = ("database-postgres", "redis", "pepper-1", "refresh-key", "limit-key", "code-key")
"""Those that every deployment has, beside one password for each database role, and the root key."""


def make_missing_secrets(settings: Settings) -> None:
    """Make the folder of secrets and whatever is missing in it; what is there stays as it is.

    What is made carries the mark of its profile, and the folder says whose it is. Raise what a key service raises where
    it makes the root key.
    """
    folder = settings.secrets_path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    profile = settings.profile.value
    _make(folder / PROFILE_FILE, profile.encode())
    for name in (*SECRET_NAMES, *(f"database-{role.value}" for role in DatabaseRole)):
        _make(folder / name, marked(profile, secrets.token_urlsafe(48).encode()))
    match root_source(settings):
        case FileRoots():
            _make(folder / FILE_NAME, marked(profile, new_root_key_text()))
        case ServiceRoots() as service:
            service.make_missing()
        case _:
            pass


def database_passwords(settings: Settings) -> dict[DatabaseRole, str]:
    """Return the passwords of the database's serving roles."""
    return {
        role: settings.secret(f"database-{role.value}").decode()
        for role in DatabaseRole
        if role is not DatabaseRole.OWNER
    }


def _make(path: Path, secret: bytes) -> None:
    if path.exists():
        return
    # Written aside and linked, so that a crash or a second start in the same moment leaves one whole secret.
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
