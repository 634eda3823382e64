"""The sender: takes one message after the other, makes its link, and hands it to the relay or to the outbox.

A link's token exists here alone, and in the mail itself: the database gets its digest, the queue and the logs nothing.
"""

import hashlib
import logging
import secrets
from email.message import EmailMessage
from uuid import UUID

from operalta.db.elevated import open_elevated
from operalta.db.pools import Pool
from operalta.delivery import store, texts
from operalta.delivery.errors import MailDelayed, MailRefused
from operalta.delivery.relay import Relay, compose
from operalta.delivery.rules import LINK_PATHS, MOST_ATTEMPTS, link
from operalta.settings import Settings, SettingsError
from operalta.terms.registry import upholds

TOKEN_BYTES = 32
_PURPOSE = "deliver mail"
_LOG = logging.getLogger(__name__)


class Sender:
    """Delivers messages with the job role's `pool`, to where the settings say.

    Raise SettingsError where they name no relay and the deployment is not the embedded default, whose outbox only the
    operator reads.
    """

    def __init__(self, pool: Pool, settings: Settings) -> None:
        if settings.smtp_url is None and not settings.uses_outbox:
            raise SettingsError("set OPERALTA_SMTP_URL: the outbox page is for local use only")
        self._pool = pool
        self._settings = settings
        self._relay = None if settings.smtp_url is None else Relay.from_url(settings.smtp_url)

    @upholds("2.4.4")
    async def deliver(self, message_id: UUID) -> None:
        """Deliver one message; do nothing where it was delivered, has failed, or is gone.

        Raise MailDelayed where the relay did not take it, so that the queue tries again; after `MOST_ATTEMPTS` the
        message has failed. Each attempt has a link of its own. A message may arrive twice where this process dies
        between the relay's answer and ours; it is the same message to a mail reader, by its `Message-ID`.
        """
        prepared = await self._prepare(message_id)
        if prepared is None or self._relay is None:
            return
        mail, attempts = prepared
        try:
            await self._relay.send(mail)
        except MailRefused as refusal:
            _LOG.error("message %s has failed: %s", message_id, refusal)
            await self._finish(message_id, sent=False)
        except MailDelayed as delay:
            if attempts < MOST_ATTEMPTS:
                raise
            _LOG.error("message %s has failed after %d attempts: %s", message_id, attempts, delay)
            await self._finish(message_id, sent=False)
        else:
            await self._finish(message_id, sent=True)

    async def _prepare(self, message_id: UUID) -> tuple[EmailMessage, int] | None:
        """Take the message and return its mail and the attempt's number; None where nothing is left to be done."""
        async with open_elevated(self._pool, _PURPOSE) as elevated:
            connection = elevated.connection
            message = await store.take_message(connection, message_id)
            if message is None:
                return None
            address = until = None
            if message.kind in LINK_PATHS:
                token = secrets.token_urlsafe(TOKEN_BYTES)
                until = await store.attach_link(connection, message_id, hashlib.sha256(token.encode()).digest())
                address = link(self._settings.base_url, message.kind, token)
            text = texts.render(
                message.kind,
                name=message.recipient_name,
                facts=message.facts,
                base_url=self._settings.base_url,
                link=address,
                until=until,
            )
            if self._relay is None:
                await store.keep_in_outbox(connection, message_id, text.subject, text.body)
                await store.finish_message(connection, message_id, sent=True)
                return None
            try:
                return compose(message_id, message.recipient, text, self._settings.mail_from), message.attempts
            except MailRefused as refusal:
                _LOG.error("message %s has failed: %s", message_id, refusal)
                await store.finish_message(connection, message_id, sent=False)
                return None

    async def _finish(self, message_id: UUID, *, sent: bool) -> None:
        async with open_elevated(self._pool, _PURPOSE) as elevated:
            await store.finish_message(elevated.connection, message_id, sent=sent)
