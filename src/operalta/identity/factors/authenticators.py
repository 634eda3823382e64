"""The secrets shared with authenticator apps, sealed under the deployment's root key, each for its own row."""

from uuid import UUID

from operalta.sealing.errors import Tampered
from operalta.sealing.keys import RootKeys

_PURPOSE = "authenticator secret"
_ID_CHARACTERS = 16


class AuthenticatorSecrets:
    """Seals and opens them. A value moved to another row, or altered, does not open."""

    def __init__(self, roots: RootKeys) -> None:
        self._roots = roots

    def seal(self, app: UUID, secret: str) -> bytes:
        """Return the id of the root key, then `secret` wrapped by it for the row `app`."""
        root = self._roots.current
        return root.id.encode() + root.wrap(_PURPOSE, str(app), secret.encode())

    def rewrap(self, app: UUID, sealed: bytes) -> bytes:
        """Return the same secret wrapped by the root key in use. Raise as `open` does."""
        return self.seal(app, self.open(app, sealed))

    def open(self, app: UUID, sealed: bytes) -> str:
        """Return the secret. Raise `Tampered` for a value of another row, `RootKeyUnusable` where its root is gone."""
        try:
            root = self._roots.named(sealed[:_ID_CHARACTERS].decode("ascii"))
            return root.unwrap(_PURPOSE, str(app), sealed[_ID_CHARACTERS:]).decode()
        except UnicodeDecodeError:
            raise Tampered from None
