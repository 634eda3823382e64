"""How much a workspace holds: its entries and bytes, counted without following anything."""

import contextlib
import errno
import os
import stat
import time
from dataclasses import dataclass

from operalta.sandbox.openat2 import open_beneath
from operalta.sandbox.rules import TEMPORARY_PREFIX

_ABANDONED_AFTER_SECONDS = 3600
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class Usage:
    """Entries (files, directories, anything else) and the bytes of files."""

    entries: int
    size: int


def measure(root: int) -> Usage:
    """Return what lies below the directory opened as `root`.

    Files that a write left half-made, an hour ago or more, are cleared away on the walk. Raise OSError where
    a directory cannot be read; one that disappears, or becomes something else, meanwhile counts for nothing.
    """
    entries = size = 0
    waiting = ["."]
    while waiting:
        directory = waiting.pop()
        try:
            descriptor = open_beneath(root, directory, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno in _GONE:
                continue
            raise
        try:
            with os.scandir(descriptor) as found:
                for item in found:
                    with contextlib.suppress(FileNotFoundError):
                        status = item.stat(follow_symlinks=False)
                        if _is_abandoned(item.name, status):
                            os.unlink(item.name, dir_fd=descriptor)
                            continue
                        entries += 1
                        if stat.S_ISDIR(status.st_mode):
                            waiting.append(f"{directory}/{item.name}")
                        else:
                            size += status.st_size
        finally:
            os.close(descriptor)
    return Usage(entries, size)


def _is_abandoned(name: str, status: os.stat_result) -> bool:
    return (
        name.startswith(TEMPORARY_PREFIX)
        and stat.S_ISREG(status.st_mode)
        and time.time() - status.st_mtime > _ABANDONED_AFTER_SECONDS
    )
