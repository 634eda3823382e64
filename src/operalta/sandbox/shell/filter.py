"""The system call filter of the sandbox: a classic BPF program for seccomp(2), made here and given to bubblewrap.

It forbids what no command needs and what kernels were broken through: asynchronous rings, key rings, tracing, other
processes' memory, mounts, modules, clocks, new namespaces, odd socket families, typing into a terminal. What it does
not know it forbids as well: numbers above those that were looked at, other architectures, the x32 calling convention.
Numbers are those of the kernel's headers (asm/unistd_64.h; asm-generic/unistd.h for aarch64).
"""

import errno
import platform
import socket
import struct
from collections.abc import Mapping
from types import MappingProxyType

from operalta.terms.registry import upholds

_LOAD_WORD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_BITS, _RETURN, _AND = 0x20, 0x15, 0x35, 0x45, 0x06, 0x54
_NUMBER, _ARCHITECTURE = 0, 4
_ARGUMENTS = (16, 24, 32, 40)  # the low halves: both architectures are little-endian
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEWNS, -CGROUP, -UTS, -IPC, -USER, -PID, -NET, -TIME
_TYPING = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
_SOCKET_TYPE, _RAW = 0xF, 3
_HIGHEST_KNOWN = 450

# Name: (x86_64, aarch64); None where the architecture has no such call.
_REFUSED: Mapping[str, tuple[int | None, int | None]] = MappingProxyType({
    "_sysctl": (156, None), "acct": (163, 89), "add_key": (248, 217), "adjtimex": (159, 171), "bpf": (321, 280),
    "chroot": (161, 51), "clock_adjtime": (305, 266), "clock_settime": (227, 112), "create_module": (174, None),
    "delete_module": (176, 106), "fanotify_init": (300, 262), "fanotify_mark": (301, 263),
    "finit_module": (313, 273), "fsconfig": (431, 431), "fsmount": (432, 432), "fsopen": (430, 430),
    "fspick": (433, 433), "get_kernel_syms": (177, None), "get_mempolicy": (239, 236), "init_module": (175, 105),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425),
    "ioperm": (173, None), "iopl": (172, None), "kcmp": (312, 272), "kexec_file_load": (320, 294),
    "kexec_load": (246, 104), "keyctl": (250, 219), "lookup_dcookie": (212, 18), "mbind": (237, 235),
    "migrate_pages": (256, 238), "modify_ldt": (154, None), "mount": (165, 40), "mount_setattr": (442, 442),
    "move_mount": (429, 429), "move_pages": (279, 239), "name_to_handle_at": (303, 264), "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265), "open_tree": (428, 428), "perf_event_open": (298, 241),
    "personality": (135, 92), "pidfd_getfd": (438, 438), "pivot_root": (155, 41), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "ptrace": (101, 117), "query_module": (178, None), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "reboot": (169, 142), "request_key": (249, 218), "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450), "setdomainname": (171, 162), "sethostname": (170, 161),
    "setns": (308, 268), "settimeofday": (164, 170), "swapoff": (168, 225), "swapon": (167, 224),
    "sysfs": (139, None), "syslog": (103, 116), "umount2": (166, 39), "unshare": (272, 97), "uselib": (134, None),
    "userfaultfd": (323, 282), "ustat": (136, None), "vhangup": (153, 58),
})  # fmt: skip

# Memory that belongs to no process, so that nothing counts it, and a call whose flags a filter cannot see: programs
# do without where the kernel is too old for them, so they are told that it is.
_UNKNOWN: Mapping[str, tuple[int | None, int | None]] = MappingProxyType({
    "clone3": (435, 435), "memfd_create": (319, 279), "memfd_secret": (447, 447), "msgctl": (71, 187),
    "msgget": (68, 186), "msgrcv": (70, 188), "msgsnd": (69, 189), "semctl": (66, 191), "semget": (64, 190),
    "semop": (65, 193), "semtimedop": (220, 192), "shmat": (30, 196), "shmctl": (31, 195), "shmdt": (67, 197),
    "shmget": (29, 194), "vmsplice": (278, 75),
})  # fmt: skip
_UNSUPPORTED: Mapping[str, tuple[int | None, int | None]] = MappingProxyType(
    {"setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7)}
)
_CLONE, _IOCTL, _SOCKET, _SOCKETPAIR, _MMAP = (56, 220), (16, 29), (41, 198), (53, 199), (9, 222)
_SHARED_AND_ANONYMOUS, _HUGE_PAGES = 0x21, 0x40000
_MACHINES: Mapping[str, tuple[int, int]] = MappingProxyType({"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)})


class FilterUnknown(Exception):  # noqa: N818 - read by people as a sentence
    """There is no system call filter for this kind of processor."""


@upholds("5.3.1", "5.3.2")
def system_call_filter(machine: str | None = None) -> bytes:
    """Return the filter for a machine's architecture (this one's, unless given), as `struct sock_filter[]`.

    Raise FilterUnknown for architectures other than x86_64 and aarch64.
    """
    found = _MACHINES.get(machine or platform.machine())
    if found is None:
        raise FilterUnknown
    column, architecture = found
    program = [
        _instruction(_LOAD_WORD, _ARCHITECTURE),
        _instruction(_JUMP_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _KILL),
        _instruction(_LOAD_WORD, _NUMBER),
        _instruction(_JUMP_GREATER_EQUAL, _X32, 0, 1),
        _instruction(_RETURN, _KILL),
        *_refuse(_JUMP_GREATER_EQUAL, _HIGHEST_KNOWN + 1, errno.ENOSYS),
    ]
    for calls, answer in ((_REFUSED, errno.EPERM), (_UNKNOWN, errno.ENOSYS), (_UNSUPPORTED, errno.EOPNOTSUPP)):
        for numbers in calls.values():
            number = numbers[column]
            if number is not None:
                program += _refuse(_JUMP_EQUAL, number, answer)
    program += _where(_CLONE[column], [_load(0), *_refuse(_JUMP_BITS, _NEW_NAMESPACES, errno.EPERM)])
    program += _where(_IOCTL[column], [_load(1), *(each for code in _TYPING for each in _refuse_equal(code))])
    program += _where(_MMAP[column], _countable_memory())
    for call in (_SOCKET, _SOCKETPAIR):
        program += _where(call[column], _ordinary_sockets())
    return b"".join([*program, _instruction(_RETURN, _ALLOW)])


def _ordinary_sockets() -> list[bytes]:
    """Let through streams and datagrams of the three usual families."""
    families = [
        _instruction(_JUMP_EQUAL, family, len(_FAMILIES) - position, 0) for position, family in enumerate(_FAMILIES)
    ]
    return [
        _load(0),
        *families,
        _instruction(_RETURN, _REFUSE | errno.EAFNOSUPPORT),
        _load(1),
        _instruction(_AND, _SOCKET_TYPE),
        *_refuse_equal(_RAW),
    ]


def _countable_memory() -> list[bytes]:
    """Let through memory that counts for the process that has it: not what is shared and nameless, nor huge pages."""
    return [
        _load(3),
        *_refuse(_JUMP_BITS, _HUGE_PAGES, errno.ENOMEM),
        _instruction(_AND, _SHARED_AND_ANONYMOUS),
        *_refuse(_JUMP_EQUAL, _SHARED_AND_ANONYMOUS, errno.ENOMEM),
    ]


def _where(number: int, checks: list[bytes]) -> list[bytes]:
    """Run `checks` for one system call, and then let it through."""
    block = [*checks, _instruction(_RETURN, _ALLOW)]
    return [_instruction(_JUMP_EQUAL, number, 0, len(block)), *block]


def _refuse_equal(value: int) -> list[bytes]:
    return _refuse(_JUMP_EQUAL, value, errno.EPERM)


def _refuse(jump: int, value: int, answer: int) -> list[bytes]:
    return [_instruction(jump, value, 0, 1), _instruction(_RETURN, _REFUSE | answer)]


def _load(argument: int) -> bytes:
    return _instruction(_LOAD_WORD, _ARGUMENTS[argument])


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)
