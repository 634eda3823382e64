"""Attempts to gain rights, and to use more than a process may."""

import contextlib
import ctypes
import mmap
import os
import resource
from pathlib import Path
from typing import Any

from .registry import attempt

_LIBRARY = ctypes.CDLL(None, use_errno=True)


@attempt("hold capabilities")
def _capabilities(_: dict[str, Any]) -> object:
    lines = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
    held = {name: lines[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(lines[name], 16)}
    if lines["NoNewPrivs"] != "1" or lines["Seccomp"] != "2":
        held["NoNewPrivs, Seccomp"] = lines["NoNewPrivs"] + lines["Seccomp"]
    return held


@attempt("become root")
def _become_root(_: dict[str, Any]) -> object:
    done = list[str]()
    for name, become in (("setuid", os.setuid), ("setgid", os.setgid), ("seteuid", os.seteuid)):
        with contextlib.suppress(OSError):
            become(0)
            done.append(name)
    with contextlib.suppress(OSError):
        os.setgroups([0])
        done.append("setgroups")
    return done


@attempt("gain rights by a set-user-id program")
def _set_user_id(_: dict[str, Any]) -> object:
    return [folder for folder in ("/usr", "/work", "/tmp", "/opt") if not os.statvfs(folder).f_flag & os.ST_NOSUID]


@attempt("raise limits")
def _limits(_: dict[str, Any]) -> object:
    raised = list[str]()
    for name in ("RLIMIT_AS", "RLIMIT_NPROC", "RLIMIT_FSIZE", "RLIMIT_NOFILE", "RLIMIT_CPU", "RLIMIT_CORE"):
        number = getattr(resource, name)
        hard = resource.getrlimit(number)[1]
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(number, (hard + 1, hard + 1))
            raised.append(name)
        if hard == resource.RLIM_INFINITY:
            raised.append(f"{name} has no limit")
    return raised


@attempt("take precedence over other processes")
def _precedence(_: dict[str, Any]) -> object:
    taken = list[str]()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -5)
        taken.append("nice")
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        taken.append("real time")
    return taken


@attempt("leave a core dump")
def _core(_: dict[str, Any]) -> object:
    process = os.fork()
    if process == 0:
        os.abort()
    status = os.waitpid(process, 0)[1]
    return "dumped" if os.WCOREDUMP(status) or any("core" in name for name in os.listdir("/work")) else ""


@attempt("take more memory than a process may")
def _memory(_: dict[str, Any]) -> object:
    soft, _hard = resource.getrlimit(resource.RLIMIT_AS)
    try:
        return len(bytearray(soft))
    except MemoryError:
        return ""


@attempt("write a larger file than a command may")
def _large_file(_: dict[str, Any]) -> object:
    soft, _hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open("/tmp/large", "wb") as file:
        file.truncate(soft + 1)
    return "made"


@attempt("write into shared memory without a limit")
def _fill_shared_memory(planted: dict[str, Any]) -> object:
    return _filled("/dev/shm", planted["files_bytes"])


def _filled(folder: str, most: int) -> object:
    written, piece = 0, b"\1" * (1 << 20)
    try:
        for number in range(2 + most // len(piece)):
            Path(folder, f"fill{number}").write_bytes(piece)
            written += len(piece)
    except OSError:
        return ""
    finally:
        for name in os.listdir(folder):
            if name.startswith("fill"):
                os.unlink(os.path.join(folder, name))
    return f"{written} bytes"


@attempt("hold more descriptors than a command may")
def _many_descriptors(_: dict[str, Any]) -> object:
    opened = list[int]()
    try:
        for _number in range(5_000):
            opened.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        return ""
    finally:
        for each in opened:
            os.close(each)
    return len(opened)


@attempt("take memory that counts for no process, in System V semaphores")
def _semaphores(_: dict[str, Any]) -> object:
    taken = [_LIBRARY.semget(0, 32_000, 0o600), _LIBRARY.shmget(0, 1 << 20, 0o600), _LIBRARY.msgget(0, 0o600)]
    return [number for number in taken if number >= 0]


@attempt("take memory that counts for no process, in shared mappings")
def _shared_mappings(_: dict[str, Any]) -> object:
    taken = list[str]()
    with contextlib.suppress(OSError):
        mmap.mmap(-1, 1 << 20).close()
        taken.append("nameless")
    with contextlib.suppress(OSError, ValueError), open("/dev/zero", "r+b") as zeros:
        mmap.mmap(zeros.fileno(), 1 << 20).close()
        taken.append("zeros")
    return taken
