"""Attempts at system calls that no command needs. The list is its own, so that what the filter leaves out is found."""

import ctypes
import errno
import os
import signal
from typing import Any

from .registry import Attempt, attempt

_libc = ctypes.CDLL(None, use_errno=True)
_NUMBERS = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "kcmp": 312, "pidfd_getfd": 438, "bpf": 321, "perf_event_open": 298,
        "userfaultfd": 323, "io_uring_setup": 425, "keyctl": 250, "add_key": 248, "request_key": 249, "mount": 165,
        "umount2": 166, "pivot_root": 155, "open_tree": 428, "move_mount": 429, "fsopen": 430, "mount_setattr": 442,
        "swapon": 167, "reboot": 169, "kexec_load": 246, "init_module": 175, "finit_module": 313,
        "delete_module": 176, "quotactl": 179, "acct": 163, "settimeofday": 164, "clock_settime": 227,
        "adjtimex": 159, "name_to_handle_at": 303, "open_by_handle_at": 304, "fanotify_init": 300, "syslog": 103,
        "sethostname": 170, "setdomainname": 171, "memfd_create": 319, "memfd_secret": 447, "unshare": 272,
        "setns": 308, "personality": 135, "clone": 56, "clone3": 435, "setxattr": 188, "iopl": 172, "ioperm": 173,
        "modify_ldt": 154, "mbind": 237, "vmsplice": 278, "capset": 126, "unknown": 461,
    },
    "aarch64": {
        "ptrace": 117, "process_vm_readv": 270, "kcmp": 272, "pidfd_getfd": 438, "bpf": 280, "perf_event_open": 241,
        "userfaultfd": 282, "io_uring_setup": 425, "keyctl": 219, "add_key": 217, "request_key": 218, "mount": 40,
        "umount2": 39, "pivot_root": 41, "open_tree": 428, "move_mount": 429, "fsopen": 430, "mount_setattr": 442,
        "swapon": 224, "reboot": 142, "kexec_load": 104, "init_module": 105, "finit_module": 273,
        "delete_module": 106, "quotactl": 60, "acct": 89, "settimeofday": 170, "clock_settime": 112,
        "adjtimex": 171, "name_to_handle_at": 264, "open_by_handle_at": 265, "fanotify_init": 262, "syslog": 116,
        "sethostname": 161, "setdomainname": 162, "memfd_create": 279, "memfd_secret": 447, "unshare": 97,
        "setns": 268, "personality": 92, "clone": 220, "clone3": 435, "setxattr": 5, "mbind": 235, "vmsplice": 75,
        "capset": 91, "unknown": 461,
    },
}[os.uname().machine]  # fmt: skip

_CALLS: tuple[tuple[str, tuple[Any, ...]], ...] = (
    ("ptrace", (16, 1, 0, 0)), ("process_vm_readv", (1, 0, 0, 0, 0, 0)), ("kcmp", (1, 1, 0, 0, 0)),
    ("pidfd_getfd", (-1, 0, 0)), ("bpf", (0, 0, 0)), ("perf_event_open", (0, 0, -1, -1, 0)), ("userfaultfd", (0,)),
    ("io_uring_setup", (1, 0)), ("keyctl", (0, -3, 0)), ("add_key", (b"user", b"x", b"y", 1, -3)),
    ("request_key", (b"user", b"x", 0, -3)), ("mount", (b"none", b"/tmp", b"tmpfs", 0, 0)),
    ("umount2", (b"/proc", 2)), ("pivot_root", (b"/work", b"/work")), ("open_tree", (-100, b"/", 1)),
    ("move_mount", (-100, b"/tmp", -100, b"/usr", 0)), ("fsopen", (b"tmpfs", 0)),
    ("mount_setattr", (-100, b"/usr", 0, 0, 0)), ("swapon", (b"/work/x", 0)), ("reboot", (0, 0, 0, 0)),
    ("kexec_load", (0, 0, 0, 0)), ("init_module", (0, 0, b"")), ("finit_module", (-1, b"", 0)),
    ("delete_module", (b"x", 0)), ("quotactl", (0, 0, 0, 0)), ("acct", (0,)), ("settimeofday", (0, 0)),
    ("clock_settime", (0, 0)), ("adjtimex", (0,)), ("name_to_handle_at", (-100, b"/", 0, 0, 0)),
    ("open_by_handle_at", (-100, 0, 0)), ("fanotify_init", (0, 0)), ("syslog", (3, 0, 0)),
    ("sethostname", (b"x", 1)), ("setdomainname", (b"x", 1)), ("memfd_create", (b"x", 0)), ("memfd_secret", (0,)),
    ("unshare", (0x10000000,)), ("unshare", (0x20000,)), ("setns", (-1, 0)), ("personality", (0x0040000,)),
    ("clone3", (0, 0)), ("mbind", (0, 0, 0, 0, 0, 0)), ("unknown", (0,)), ("iopl", (3,)), ("ioperm", (0, 1, 1)),
    ("modify_ldt", (0, 0, 0)), ("vmsplice", (-1, 0, 0, 0)),
)  # fmt: skip


def _refused(name: str, given: tuple[Any, ...]) -> Attempt:
    """Return an attempt at a call: it is held where the call is refused outright, not for its arguments."""

    def tried(_: dict[str, Any]) -> object:
        returned, number = _call(name, *given)
        if returned >= 0:
            return f"it returned {returned}"
        refused = number in {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP}
        return "" if refused else f"the kernel looked at it: {errno.errorcode.get(number)}"

    return tried


def _call(name: str, *given: Any) -> tuple[int, int]:
    """Make a system call by its number; return what it returned, and errno."""
    values = (ctypes.c_long(each) if isinstance(each, int) else each for each in given)
    return int(_libc.syscall(ctypes.c_long(_NUMBERS[name]), *values)), ctypes.get_errno()


for _at, (_name, _given) in enumerate(_CALLS):
    if _name in _NUMBERS:
        attempt(f"system call {_name}, {_at}")(_refused(_name, _given))


@attempt("make a new user namespace by clone")
def _clone(_: dict[str, Any]) -> object:
    returned, _number = _call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0)
    if returned == 0:
        os._exit(0)
    return "made" if returned > 0 else ""
