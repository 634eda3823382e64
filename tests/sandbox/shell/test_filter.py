import errno
import struct

import pytest

from operalta.sandbox.shell.filter import FilterUnknown, system_call_filter

X86, ARM, X86_32 = 0xC000003E, 0xC00000B7, 0x40000003
ALLOWED, KILLED = 0x7FFF0000, 0x80000000
MACHINES = {"x86_64": X86, "aarch64": ARM}


def refused(number: int) -> int:
    return 0x00050000 | number


def judged(machine: str, call: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would decide: the program, run over the data that it gets of a system call."""
    given = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<IIQ6Q", call, MACHINES[machine] if architecture is None else architecture, 0, *given)
    program = list(struct.iter_unpack("<HBBI", system_call_filter(machine)))
    assert len(program) <= 4096
    at = accumulator = 0
    while True:
        code, if_true, if_false, value = program[at]
        at += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, value)
            case 0x54:
                accumulator &= value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x45:
                at += if_true if accumulator & value else if_false
            case 0x06:
                return value
            case _:
                raise AssertionError(code)


USUAL = {
    "x86_64": {"read": 0, "openat": 257, "execve": 59, "fork": 57, "futex": 202, "landlock_restrict_self": 446},
    "aarch64": {"read": 63, "openat": 56, "execve": 221, "futex": 98, "landlock_restrict_self": 446},
}
FORBIDDEN = {
    "x86_64": {"ptrace": 101, "keyctl": 250, "io_uring_setup": 425, "bpf": 321, "mount": 165, "unshare": 272,
               "userfaultfd": 323, "clock_settime": 227, "process_vm_readv": 310},
    "aarch64": {"ptrace": 117, "keyctl": 219, "io_uring_setup": 425, "bpf": 280, "mount": 40, "unshare": 97,
                "userfaultfd": 282, "clock_settime": 112, "process_vm_readv": 270},
}  # fmt: skip
CLONE = {"x86_64": 56, "aarch64": 220}
IOCTL = {"x86_64": 16, "aarch64": 29}
SOCKET = {"x86_64": 41, "aarch64": 198}


@pytest.mark.parametrize("machine", MACHINES)
def test_what_programs_need_passes(machine: str) -> None:
    for name, number in USUAL[machine].items():
        assert judged(machine, number) == ALLOWED, name
    assert judged(machine, CLONE[machine], 0x003D0F00) == ALLOWED  # a thread
    assert judged(machine, IOCTL[machine], 1, 0x5401) == ALLOWED  # what a terminal is asked
    for family in (1, 2, 10):
        assert judged(machine, SOCKET[machine], family, 1 | 0o2000000) == ALLOWED


@pytest.mark.proves("5.3.1", "5.3.2")
@pytest.mark.parametrize("machine", MACHINES)
def test_what_no_command_needs_is_refused(machine: str) -> None:
    for name, number in FORBIDDEN[machine].items():
        assert judged(machine, number) == refused(errno.EPERM), name
    for bit in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert judged(machine, CLONE[machine], bit | 17) == refused(errno.EPERM), hex(bit)
    assert judged(machine, 435) == refused(errno.ENOSYS)  # clone3: its flags cannot be seen
    for code in (0x5412, 0x541C):
        assert judged(machine, IOCTL[machine], 0, code) == refused(errno.EPERM)
    for family in (0, 3, 16, 17, 38, 40, 44):
        assert judged(machine, SOCKET[machine], family, 1) == refused(errno.EAFNOSUPPORT), family
    assert judged(machine, SOCKET[machine], 2, 3) == refused(errno.EPERM)


@pytest.mark.proves("5.3.1")
@pytest.mark.parametrize("machine", MACHINES)
def test_what_is_not_known_is_refused(machine: str) -> None:
    assert judged(machine, 451) == refused(errno.ENOSYS)
    assert judged(machine, 10_000) == refused(errno.ENOSYS)
    assert judged(machine, 0, architecture=X86_32) == KILLED
    assert judged(machine, 0x40000000 | 59) == KILLED


@pytest.mark.proves("5.3.2")
@pytest.mark.parametrize("machine", MACHINES)
def test_memory_that_counts_for_no_process_is_refused(machine: str) -> None:
    mmap = {"x86_64": 9, "aarch64": 222}[machine]
    private, shared, nameless, huge = 0x02, 0x01, 0x20, 0x40000
    assert judged(machine, mmap, 0, 4096, 3, private | nameless) == ALLOWED
    assert judged(machine, mmap, 0, 4096, 3, shared) == ALLOWED  # of a file, whose bytes are counted
    assert judged(machine, mmap, 0, 4096, 3, shared | nameless) == refused(errno.ENOMEM)
    assert judged(machine, mmap, 0, 4096, 3, private | nameless | huge) == refused(errno.ENOMEM)
    for number in {"x86_64": (29, 64, 68, 278), "aarch64": (194, 190, 186, 75)}[machine]:
        assert judged(machine, number) == refused(errno.ENOSYS)


def test_other_processors_have_none() -> None:
    with pytest.raises(FilterUnknown):
        system_call_filter("riscv64")
