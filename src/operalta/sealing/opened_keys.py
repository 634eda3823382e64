"""A short memory of unwrapped company keys, so that opening a secret costs two looks at files and no unwrapping.

What is remembered holds only while the key file is the very one that was read (its inode, size and times) and no
tombstone stands beside it. Whoever drops, rotates or rewraps a key changes one of these, and the next look, in whatever
process, notices. The bounds are for memory's sake: how many companies, and for how long keys lie unwrapped.
"""

import os
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Generic, TypeVar

MOST_COMPANIES = 1_000
LONGEST_SECONDS = 10.0

Kept = TypeVar("Kept")
_Mark = tuple[int, int, int, int]


class OpenedKeys(Generic[Kept]):
    """What was read from files, by path, for `seconds` at most and for `most` files; the least used goes first."""

    def __init__(self, most: int = MOST_COMPANIES, seconds: float = LONGEST_SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._lock = threading.Lock()
        self._kept: OrderedDict[Path, tuple[_Mark, float, Kept]] = OrderedDict()

    def mark(self, path: Path) -> _Mark:
        """Return what tells this file from every other and from itself after a change. Raise FileNotFoundError."""
        status = os.stat(path, follow_symlinks=False)  # noqa: PTH116 - a third of the time of its counterpart
        return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def find(self, path: Path) -> Kept | None:
        """Return what was read from `path`, if the file is unchanged. Raise FileNotFoundError where it is gone."""
        with self._lock:
            entry = self._kept.get(path)
        if entry is None:
            return None
        mark, until, kept = entry
        if self.mark(path) == mark and time.monotonic() < until:
            return kept
        self.forget(path)
        return None

    def remember(self, path: Path, mark: _Mark, kept: Kept) -> None:
        """Remember what was read from `path` after `mark` was taken."""
        with self._lock:
            self._kept[path] = (mark, time.monotonic() + self._seconds, kept)
            self._kept.move_to_end(path)
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)

    def forget(self, path: Path) -> None:
        """Forget what was read from `path`."""
        with self._lock:
            self._kept.pop(path, None)
