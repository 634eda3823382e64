"""The mail relay that the settings name: how it is reached, and what its answers mean."""

import ipaddress
import ssl
from dataclasses import dataclass, field
from email import policy
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr
from typing import Self
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib

from operalta.delivery.errors import MailDelayed, MailRefused
from operalta.delivery.texts import Text
from operalta.kernel import clock
from operalta.settings import SettingsError
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
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    async def send(self, mail: EmailMessage) -> None:
        """Hand the mail over. Raise MailRefused where it can never be taken, MailDelayed where it was not this time."""
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
                tls_context=ssl.create_default_context(),
                timeout=STEP_SECONDS,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            if all(refused.code >= _PERMANENT for refused in error.recipients):
                raise MailRefused("the relay refuses the address") from error
            raise MailDelayed("the relay does not take the address now") from error
        except aiosmtplib.SMTPDataError as error:
            if error.code >= _PERMANENT:
                raise MailRefused("the relay refuses the text") from error
            raise MailDelayed("the relay does not take the text now") from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            raise MailDelayed(f"the relay cannot be used: {type(error).__name__}") from error


@upholds("3.4.4")
def compose(message: UUID, recipient: str, text: Text, mail_from: str) -> EmailMessage:
    """Return the mail. Headers are built from parsed parts, so none can be added through an address or a subject.

    Raise MailRefused where the recipient is no address. A message keeps its `Message-ID` over all attempts.
    """
    sender_name, sender = parseaddr(mail_from)
    mail = EmailMessage(policy=policy.SMTP)
    try:
        mail["From"] = Address(sender_name, addr_spec=sender)
        mail["To"] = Address(addr_spec=recipient)
        mail["Subject"] = text.subject
    except (MessageError, ValueError, IndexError) as error:
        raise MailRefused("an address cannot be written into a mail") from error
    mail["Date"] = format_datetime(clock.now())
    mail["Message-ID"] = f"<{message}@{sender.rpartition('@')[2] or 'localhost'}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text.body)
    return mail
