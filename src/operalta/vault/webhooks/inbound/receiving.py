"""Taking messages from other services: a signature is checked over the bytes that came, before they are read."""

from collections.abc import Mapping

import psycopg
import structlog

from operalta.db.pools import Pool
from operalta.db.scope import Origin
from operalta.kernel import clock
from operalta.kernel.errors import TooLarge
from operalta.sealing.errors import CannotOpen, CompanyKeyGone
from operalta.terms.registry import upholds
from operalta.vault.webhooks.errors import NoSuchHook, NotJson, SignatureRefused
from operalta.vault.webhooks.inbound import store
from operalta.vault.webhooks.inbound.rules import (
    LARGEST_BODY_BYTES,
    OpenedHook,
    Taken,
    challenge_in,
    content_of,
    is_token,
)
from operalta.vault.webhooks.ports import OpensHooks
from operalta.vault.webhooks.signatures import verify

log = structlog.get_logger(__name__)


class Receiver:
    """Takes messages with the web role's `pool`."""

    def __init__(self, pool: Pool, opener: OpensHooks) -> None:
        self._pool = pool
        self._opener = opener

    @upholds("5.5.3", "7.2.2")
    async def take(self, token: str, headers: Mapping[str, str], body: bytes, origin: Origin) -> str | None:
        """Keep a message as an untrusted one; return what the sender wants to have back, where it asks for that.

        One that came before is taken as if it had not, and kept once. Raise TooLarge, NoSuchHook (unknown, off and
        removed alike), SignatureRefused, NotJson.
        """
        if len(body) > LARGEST_BODY_BYTES:
            raise TooLarge
        opened = await self._opened(token, origin) if is_token(token) else None
        if opened is None:
            raise NoSuchHook
        found = verify(opened.scheme, opened.secrets, headers, body, clock.unix_seconds())
        if found is None:
            async with self._pool.acquire() as connection, connection.transaction():
                await store.refuse_message(connection, token, origin)
            raise SignatureRefused
        content = content_of(headers.get("content-type", ""), body)
        challenge = challenge_in(opened.scheme, content)
        if challenge is not None:
            return challenge
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                taken = await store.keep_message(connection, token, found.identity, body, origin)
        except psycopg.DataError as error:
            raise NotJson("This holds numbers or characters that cannot be kept.") from error
        if taken == Taken.NONE:
            raise NoSuchHook
        return None

    async def _opened(self, token: str, origin: Origin) -> OpenedHook | None:
        # Committed before it is used: the event stays, whatever becomes of the message.
        async with self._pool.acquire() as connection, connection.transaction():
            try:
                return await self._opener.open_for_hook(connection, token, origin)
            except (CannotOpen, CompanyKeyGone) as failure:
                log.warning("the secret of a hook does not open", error=type(failure).__name__)
                return None
