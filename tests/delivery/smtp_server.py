"""A mail relay that speaks SMTP (RFC 5321) on the wire and keeps what it was given."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass
class Relay:
    """The relay's answers can be changed before it is spoken to."""

    port: int = 0
    recipient_answer: str = "250 fine"
    data_answer: str = "250 queued"
    offers_tls: bool = False
    mails: list[EmailMessage] = field(default_factory=list[EmailMessage])
    envelopes: list[str] = field(default_factory=list[str])
    conversations: int = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.conversations += 1
        try:
            await self._converse(reader, writer)
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def say(line: str) -> None:
            writer.write(line.encode() + b"\r\n")

        say("220 relay.example ESMTP")
        while line := (await reader.readline()).decode():
            verb = line.split()[0].upper().partition(":")[0] if line.split() else ""
            match verb:
                case "EHLO":
                    say("250-relay.example")
                    say("250-STARTTLS" if self.offers_tls else "250-PIPELINING")
                    say("250 SMTPUTF8")
                case "MAIL":
                    say("250 fine")
                case "RCPT":
                    self.envelopes.append(line.strip())
                    say(self.recipient_answer)
                case "DATA":
                    say("354 go on")
                    self._keep(await reader.readuntil(b"\r\n.\r\n"))
                    say(self.data_answer)
                case "RSET" | "NOOP":
                    say("250 fine")
                case "QUIT":
                    say("221 bye")
                    return
                case _:
                    say("502 what?")

    def _keep(self, data: bytes) -> None:
        if self.data_answer.startswith("250"):
            unstuffed = data.removesuffix(b".\r\n").replace(b"\r\n..", b"\r\n.")
            self.mails.append(message_from_bytes(unstuffed, policy=policy.default))


@asynccontextmanager
async def running(relay: Relay) -> AsyncGenerator[Relay]:
    """Start the relay on its port, or a free one, and stop it at the end."""
    server = await asyncio.start_server(relay.speak, "127.0.0.1", relay.port)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay
    finally:
        server.close()
        await server.wait_closed()
