"""Run as a process of its own: swaps names in a workspace for links, as fast as the kernel lets it, until it is ended.

    python swapping.py ROOT OUTSIDE

Each name is exchanged with its link in one step (RENAME_EXCHANGE), so that it is always one or the other: `door` and
`deep` are directories or symbolic links to OUTSIDE, `file` is a file or a symbolic link to OUTSIDE/secret, `hard` a
file or a hard link to it. What the other side moves or deletes is put back. One byte on standard output tells that it
is at work.
"""

import contextlib
import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path

_HERE = -100  # AT_FDCWD
_EXCHANGE = 2
_ROUNDS_BETWEEN_REPAIRS = 10
_libc = ctypes.CDLL(None, use_errno=True)


def main(root: Path, outside: Path) -> None:
    """Swap until the process is ended."""
    for name in ("door", "deep"):
        (root / name / "er").mkdir(parents=True)
        (root / f"{name}.swapped").symlink_to(outside)
    names = [
        (os.fsencode(root / name), os.fsencode(root / f"{name}.swapped")) for name in ("door", "deep", "file", "hard")
    ]
    _repair(root, outside)
    sys.stdout.write("!")
    sys.stdout.flush()
    while True:
        _repair(root, outside)
        for _ in range(_ROUNDS_BETWEEN_REPAIRS):
            for one, other in names:
                _libc.renameat2(_HERE, one, _HERE, other, _EXCHANGE)


def _repair(root: Path, outside: Path) -> None:
    secret = outside / "secret"
    inode = secret.stat().st_ino
    _repair_pair(root / "file", Path.is_symlink, lambda fresh: fresh.symlink_to(secret))
    _repair_pair(root / "hard", lambda name: name.lstat().st_ino == inode, lambda fresh: fresh.hardlink_to(secret))


def _repair_pair(name: Path, is_link: Callable[[Path], bool], link: Callable[[Path], None]) -> None:
    """Have one of the pair be a link and the other one a file."""
    sides = (name, name.with_name(f"{name.name}.swapped"))
    fresh = name.with_name("fresh")
    with contextlib.suppress(FileNotFoundError):
        present = {side: is_link(side) for side in sides if os.path.lexists(side)}
        missing = [side for side in sides if side not in present]
        if True not in present.values():
            link(fresh)
            fresh.rename(missing[0] if missing else sides[1])
        elif False not in present.values():
            fresh.write_bytes(b"inside")
            fresh.rename(missing[0] if missing else sides[1])


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
