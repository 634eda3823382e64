"""The mail relay that the settings name: how it is reached, and what its answers mean."""

import ssl
from dataclasses import dataclass, field
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from functools import cache
from typing import Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib

from operalta.delivery.errors import DeliveryDelayed, DeliveryRefused
from operalta.delivery.rules import Message
from operalta.delivery.texts import Text
from operalta.kernel import clock
from operalta.settings import Settings, SettingsError, is_this_machine
from operalta.terms.registry import upholds

STEP_SECONDS = 15.0
"""How long each step of a conversation with the relay may take."""

_PERMANENT = 500


@dataclass(frozen=True, slots=True)
class Relay:
    """Where mail leaves: `smtps://` speaks TLS from the first byte, `smtp://` changes to it before anything is said.

    Only to this machine itself may `smtp://` go on without TLS.
    """

    host: str
    port: int
    implicit_tls: bool
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Return the relay of an `smtp://user:password@host:port` address. Raise SettingsError for any other."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
            raise SettingsError("OPERALTA_SMTP_URL is not usable: write smtp://user:password@host:port or smtps://…")
        implicit = parts.scheme == "smtps"
        username = None if parts.username is None else unquote(parts.username)
        password = None if parts.password is None else unquote(parts.password)
        return cls(parts.hostname, port or (465 if implicit else 587), implicit, username, password)

    @property
    def is_local(self) -> bool:
        """Whether the relay is on this machine."""
        return is_this_machine(self.host)

    async def send(self, mail: EmailMessage) -> None:
        """Hand the mail over.

        Raise DeliveryRefused where it can never be taken, DeliveryDelayed where it was not this time.
        """
        try:
            await aiosmtplib.send(
                mail,
                hostname=self.host,
                port=self.port,
                username=self.username,
                password=self.password,
                use_tls=self.implicit_tls,
                # None changes to TLS where the relay offers it, True insists.
                start_tls=False if self.implicit_tls else (None if self.is_local else True),
                tls_context=_trusting_the_machines_authorities(),
                timeout=STEP_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            if all(refused.code >= _PERMANENT for refused in error.recipients):
                raise DeliveryRefused("the relay refuses the address") from error
            raise DeliveryDelayed("the relay does not take the address now") from error
        except aiosmtplib.SMTPDataError as error:
            if error.code >= _PERMANENT:
                raise DeliveryRefused("the relay refuses the text") from error
            raise DeliveryDelayed("the relay does not take the text now") from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            raise DeliveryDelayed(f"the relay cannot be used: {type(error).__name__}") from error


@cache
def _trusting_the_machines_authorities() -> ssl.SSLContext:
    # Once for the process: reading some hundred certificates takes longer than sending a mail.
    return ssl.create_default_context()


class MailChannel:
    """Sends mail from one address through a relay."""

    def __init__(self, relay: Relay, mail_from: str) -> None:
        self._relay = relay
        self._mail_from = mail_from

    async def send(self, message: Message, text: Text) -> None:
        """Have the relay take a message, which it gives no name. Raise DeliveryRefused or DeliveryDelayed."""
        await self._relay.send(compose(message.id, message.recipient, text, self._mail_from))


def mail_channel(settings: Settings) -> MailChannel | None:
    """Return the channel that the settings name; None where mail stays in the outbox. Raise SettingsError."""
    if settings.uses_outbox:
        return None
    if settings.smtp_url is None:
        raise SettingsError("set OPERALTA_SMTP_URL: the outbox page is for local use only")
    return MailChannel(Relay.from_url(settings.smtp_url.get_secret_value()), settings.mail_from)


@upholds("3.4.4")
def compose(message: UUID, recipient: str, text: Text, mail_from: str) -> EmailMessage:
    """Return the mail. Headers are built from parsed parts, so none can be added through an address or a subject.

    Raise DeliveryRefused where the recipient is no address. A message keeps its `Message-ID` over all attempts.
    """
    sender_name, sender = parseaddr(mail_from)
    mail = EmailMessage(policy=policy.SMTP)
    try:
        mail["From"] = Address(sender_name, addr_spec=sender)
        mail["To"] = Address(addr_spec=recipient)
        mail["Subject"] = text.subject
    except (MessageError, ValueError, IndexError) as error:
        raise DeliveryRefused("an address cannot be written into a mail") from error
    mail["Date"] = format_datetime(clock.now())
    mail["Message-ID"] = f"<{message}@{sender.rpartition('@')[2] or 'localhost'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text.body)
    return mail
