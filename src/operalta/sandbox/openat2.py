"""`openat2`: the kernel resolves a name below a directory, in one call that no swapped link can outrun.

Linux 5.6 and newer. The C library has no wrapper, so the system call is made by its number, which is the
same on every architecture that we run on. See openat2(2). For `renameat2` it has one.
"""

import ctypes
import errno
import os
import platform

from operalta.sandbox.errors import FilesUnavailable
from operalta.terms.registry import upholds

_OPENAT2 = 437
_NO_MAGICLINKS = 0x02
_NO_SYMLINKS = 0x04
_BENEATH = 0x08
_NO_REPLACING = 0x01  # RENAME_NOREPLACE
_ATTEMPTS = 64  # EAGAIN: something below moved while the kernel looked; it asks to be called again
_ARCHITECTURES = frozenset({"x86_64", "aarch64", "riscv64", "ppc64le", "s390x", "armv7l", "i686"})

_libc = ctypes.CDLL(None, use_errno=True)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@upholds("5.2.1", "5.2.3")
def open_beneath(directory: int, name: str, flags: int, mode: int = 0) -> int:
    """Open `name` below the descriptor `directory` and return its descriptor, close-on-exec.

    The kernel follows no symbolic link in any part and never leaves `directory`. Raise OSError as open(2)
    does; ELOOP means a link on the way, EXDEV a way out.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
    path = os.fsencode(name)
    for _ in range(_ATTEMPTS):
        descriptor = int(_system_call(directory, path, how))
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number not in {errno.EAGAIN, errno.EINTR}:
            raise OSError(number, os.strerror(number))
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


@upholds("5.2.3")
def rename_within(from_directory: int, name: str, to_directory: int, new_name: str) -> None:
    """Give the entry `name` of one open directory the name `new_name` in another, in one step.

    Both names are single parts. What is moved is the entry itself, never what a link leads to, and nothing is
    replaced: raise OSError as renameat2(2) does; EEXIST means that the new name is taken.
    """
    outcome = _libc.renameat2(
        ctypes.c_int(from_directory),
        ctypes.c_char_p(os.fsencode(name)),
        ctypes.c_int(to_directory),
        ctypes.c_char_p(os.fsencode(new_name)),
        ctypes.c_uint(_NO_REPLACING),
    )
    if outcome != 0:
        number = ctypes.get_errno()
        # The file system cannot promise to replace nothing; the names are not at fault.
        number = errno.ENOSYS if number == errno.EINVAL else number
        raise OSError(number, os.strerror(number))


def require_openat2(directory: int) -> None:
    """Raise FilesUnavailable with the reason where this kernel, or a filter around us, has no `openat2`."""
    if platform.system() != "Linux" or platform.machine() not in _ARCHITECTURES:
        raise FilesUnavailable("Files need Linux 5.6 or newer on this server. Tell its operator.")
    try:
        os.close(open_beneath(directory, ".", os.O_PATH | os.O_DIRECTORY))
    except OSError as error:
        raise FilesUnavailable(
            "Files need the system call openat2 (Linux 5.6 or newer, not filtered by the container), "
            f"which answered {errno.errorcode.get(error.errno or 0, 'an error')}. Tell the operator."
        ) from error


def _system_call(directory: int, path: bytes, how: _OpenHow) -> int:
    return _libc.syscall(
        ctypes.c_long(_OPENAT2),
        ctypes.c_int(directory),
        ctypes.c_char_p(path),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )
