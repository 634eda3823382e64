"""The sender: takes one message after the other, makes its link or code, and hands it to a channel or to the outbox.

A link's token, or a code, exists here alone and in the message itself: the database gets its digest, the queue and
the logs nothing. The outbox of the embedded default, which production refuses, is the one place that keeps the text.
"""

import hashlib
import logging
import secrets
from uuid import UUID

from operalta.db.elevated import Purpose, open_elevated
from operalta.db.pools import Connection, Pool
from operalta.delivery import store, texts
from operalta.delivery.channels import Channel
from operalta.delivery.errors import DeliveryDelayed, DeliveryRefused
from operalta.delivery.relay import mail_channel
from operalta.delivery.rules import LINK_PATHS, MOST_ATTEMPTS, SENT_BY_SMS, Message, Outcome, host_for_codes, link
from operalta.delivery.sms.channel import sms_channel
from operalta.delivery.texts import Text
from operalta.guard.codes import code_digest, new_code
from operalta.settings import Settings
from operalta.terms.registry import upholds

TOKEN_BYTES = 32
_LOG = logging.getLogger(__name__)


class Sender:
    """Delivers messages with the job role's `pool`, to where the settings say.

    Raise SettingsError where they name no mail relay and the deployment is not the embedded default, whose outbox
    only the operator reads; or where a secret that they need is missing.
    """

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._mail: Channel | None = mail_channel(settings)
        self._sms: Channel | None = sms_channel(settings)
        self._code_key = settings.secret("code-key")

    @upholds("2.2.1", "2.4.4")
    async def deliver(self, message_id: UUID) -> None:
        """Deliver one message; do nothing where it was delivered, has failed, or is gone.

        Raise DeliveryDelayed where the channel did not take it, so that the queue tries again; after `MOST_ATTEMPTS`
        the message has failed. Each attempt has a link or a code of its own, and an earlier code is void from then
        on. A message may arrive twice where this process dies between the channel's answer and ours.
        """
        prepared = await self._prepare(message_id)
        if prepared is None:
            return
        channel, message, text = prepared
        try:
            reference = await channel.send(message, text)
        except DeliveryRefused as refusal:
            _LOG.error("message %s has failed: %s", message_id, refusal)
            await self._finish(message_id, Outcome.FAILED, None)
        except DeliveryDelayed as delay:
            if message.attempts < MOST_ATTEMPTS:
                raise
            _LOG.error("message %s has failed after %d attempts: %s", message_id, message.attempts, delay)
            await self._finish(message_id, Outcome.FAILED, None)
        else:
            await self._finish(message_id, Outcome.SENT, reference)

    async def _prepare(self, message_id: UUID) -> tuple[Channel, Message, Text] | None:
        """Take the message and write its text; None where nothing is left to be sent."""
        async with open_elevated(self._pool, Purpose.DELIVER_MAIL) as elevated:
            connection = elevated.connection
            message = await store.take_message(connection, message_id)
            if message is None:
                return None
            text = await self._write(connection, message)
            if text is None:
                await store.finish_message(connection, message_id, Outcome.FAILED, None)
                return None
            channel = self._sms if message.kind in SENT_BY_SMS else self._mail
            if channel is not None:
                return channel, message, text
            await store.keep_in_outbox(connection, message_id, text.subject, text.body)
            await store.finish_message(connection, message_id, Outcome.SENT, None)
            return None

    async def _write(self, connection: Connection, message: Message) -> Text | None:
        """Return the text, with a fresh link or code whose digest is bound to what it may do; None: it is too late."""
        if message.code_id is not None:
            return await self._write_code(connection, message, message.code_id)
        address = until = None
        if message.kind in LINK_PATHS:
            token = secrets.token_urlsafe(TOKEN_BYTES)
            until = await store.attach_link(connection, message.id, hashlib.sha256(token.encode()).digest())
            address = link(self._settings.base_url, message.kind, token)
        return texts.render(
            message.kind,
            name=message.recipient_name,
            facts=message.facts,
            base_url=self._settings.base_url,
            link=address,
            until=until,
        )

    @upholds("2.2.2", "2.2.5", "3.2.2")
    async def _write_code(self, connection: Connection, message: Message, code_id: UUID) -> Text | None:
        code = new_code()
        until = await store.attach_code(connection, message.id, code_digest(self._code_key, code_id, code))
        if until is None:
            _LOG.info("message %s is not sent: its code was used, replaced, or asked for too long ago", message.id)
            return None
        return texts.render_code(code, host_for_codes(self._settings.base_url))

    async def _finish(self, message_id: UUID, outcome: Outcome, reference: str | None) -> None:
        async with open_elevated(self._pool, Purpose.DELIVER_MAIL) as elevated:
            await store.finish_message(elevated.connection, message_id, outcome, reference)
