"""A mail relay of the throw-away deployment's own: it takes every mail over SMTP and keeps it in memory."""

import asyncio
import contextlib
import socketserver
import threading
from collections.abc import Generator
from email import message_from_bytes, policy
from email.message import EmailMessage

LONGEST_LINE = 4_096
PATIENCE_SECONDS = 45.0
_LONGEST_MAIL = 1_000_000


class NoMail(Exception):  # noqa: N818 - says what happened
    """The mail that was waited for did not come."""


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, mails: list[EmailMessage]) -> None:
        super().__init__(("127.0.0.1", 0), _Conversation)
        self.mails = mails


class _Conversation(socketserver.StreamRequestHandler):
    """One conversation after RFC 5321, as far as one sender needs it."""

    def handle(self) -> None:
        self._say("220 localhost ESMTP")
        for line in self._lines():
            match line.split(b" ")[0].upper():
                case b"EHLO" | b"HELO":
                    self._say("250-localhost\r\n250 SMTPUTF8")
                case b"MAIL" | b"RCPT" | b"RSET" | b"NOOP":
                    self._say("250 fine")
                case b"DATA":
                    self._say("354 go on")
                    self._keep()
                    self._say("250 kept")
                case b"QUIT":
                    self._say("221 bye")
                    return
                case _:
                    self._say("500 not known here")

    def _lines(self) -> Generator[bytes]:
        while line := self.rfile.readline(LONGEST_LINE):
            yield line.strip()

    def _keep(self) -> None:
        lines: list[bytes] = []
        size = 0
        while (line := self.rfile.readline(LONGEST_LINE)) not in {b".\r\n", b""}:
            size += len(line)
            if size < _LONGEST_MAIL:
                lines.append(line[1:] if line.startswith(b"..") else line)
        if isinstance(self.server, _Server):
            self.server.mails.append(message_from_bytes(b"".join(lines), policy=policy.default))

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


class Mailbox:
    """The relay, in a thread of its own, and what it was given."""

    def __init__(self) -> None:
        self._mails: list[EmailMessage] = []
        self._server = _Server(self._mails)
        self._thread = threading.Thread(target=self._server.serve_forever, name="mailbox", daemon=True)

    @property
    def url(self) -> str:
        """Where it takes mail, as the settings want it."""
        return f"smtp://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        """Take mail from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more, and forget everything."""
        if self._thread.is_alive():
            self._server.shutdown()
        with contextlib.suppress(OSError):
            self._server.server_close()
        self._mails.clear()

    def to(self, address: str) -> tuple[EmailMessage, ...]:
        """Return what came for `address` so far, the oldest first."""
        return tuple(mail for mail in self._mails if str(mail["To"]) == address)

    async def wait_for(self, address: str, *, after: int = 0) -> EmailMessage:
        """Return the newest mail to `address` once there are more than `after`. Raise NoMail where none comes."""
        async with _patience():
            while True:
                mails = self.to(address)
                if len(mails) > after:
                    return mails[-1]
                await asyncio.sleep(0.02)

    async def wait_for_link(self, address: str, path: str, *, after: int = 0) -> str:
        """Return the token of the newest link to `path` that is mailed to `address`, after the first `after` mails.

        Raise NoMail where none comes.
        """
        wanted = f"{path}?token="
        async with _patience():
            while True:
                for mail in reversed(self.to(address)[after:]):
                    _, found, rest = mail.get_content().partition(wanted)
                    if found:
                        return rest.split()[0]
                await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def _patience():  # noqa: ANN202 - told by the decorator
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield
    except TimeoutError:
        raise NoMail(f"No such mail came in {PATIENCE_SECONDS:g} seconds.") from None
