"""When the use of a key was last written down by this process: once a minute is enough for people to read."""

import time
from collections import OrderedDict

SECONDS_BETWEEN = 60.0
MOST_REMEMBERED = 10_000


class NotedUses:
    """Remembers keys, by whatever identifies them without opening anything, and when a use of theirs was noted."""

    def __init__(self) -> None:
        self._noted: OrderedDict[str, float] = OrderedDict()

    def is_due(self, key: str) -> bool:
        """Tell whether a use of `key` is to be noted now; it counts as noted from then on, for a minute."""
        now = time.monotonic()
        noted = self._noted.get(key)
        if noted is not None and now - noted < SECONDS_BETWEEN:
            return False
        self._noted[key] = now
        self._noted.move_to_end(key)
        if len(self._noted) > MOST_REMEMBERED:
            self._noted.popitem(last=False)
        return True
