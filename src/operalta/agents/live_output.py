"""What a command writes while it runs, told in pieces that are neither too many nor too long."""

import codecs
import time
from collections.abc import Awaitable, Callable

INTERVAL_SECONDS = 0.4
LONGEST_PIECE = 2_000
MOST_PIECES = 60


class LiveOutput:
    """Collects output and tells it on, at most every 0.4 seconds, 60 times, 2,000 characters each.

    What is more than that is not told while the command runs; the result has the beginning and the end of all.
    """

    def __init__(self, tell: Callable[[str], Awaitable[None]] | None) -> None:
        self._tell = tell
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._waiting = ""
        self._told = 0
        self._last = 0.0

    async def take(self, piece: bytes) -> None:
        """Take what was written."""
        self._waiting = (self._waiting + self._decoder.decode(piece))[-LONGEST_PIECE:]
        if time.monotonic() - self._last >= INTERVAL_SECONDS:
            await self.finish()

    async def finish(self) -> None:
        """Tell what has not been told yet."""
        if self._tell is not None and self._waiting and self._told < MOST_PIECES:
            self._told += 1
            self._last = time.monotonic()
            told, self._waiting = self._waiting, ""
            await self._tell(told)
