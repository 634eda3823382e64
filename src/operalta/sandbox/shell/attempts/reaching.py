"""Attempts to reach what lies outside: files, processes, memory, kernel settings."""

import contextlib
import os
import stat
from pathlib import Path
from typing import Any

from .registry import attempt

MOST_PROCESSES = 8  # that belong here
STANDARD_ERROR = 2


@attempt("read the server's canary file")
def _canary_file(planted: dict[str, Any]) -> object:
    return Path(planted["file"]).read_text()


@attempt("read the canary through the first process's root")
def _through_root(planted: dict[str, Any]) -> object:
    return Path(f"/proc/1/root{planted['file']}").read_text()


@attempt("read the canary through a link")
def _through_link(planted: dict[str, Any]) -> object:
    Path("link").symlink_to(planted["file"])
    return Path("link").read_text()


@attempt("climb out of the folder")
def _climb(planted: dict[str, Any]) -> object:
    return Path("/work/" + "../" * 40 + planted["file"].lstrip("/")).read_text()


@attempt("read accounts' password digests")
def _shadow(_: dict[str, Any]) -> object:
    return Path("/etc/shadow").read_bytes() or "empty, but read"


@attempt("read what Landlock forbids")
def _out_of_reach(planted: dict[str, Any]) -> object:
    return Path(planted["out_of_reach"]).read_text()


@attempt("list the root folder")
def _list_root(_: dict[str, Any]) -> object:
    return os.listdir("/")


@attempt("find the server's folders")
def _folders(_: dict[str, Any]) -> object:
    return [
        name
        for name in ("/home", "/var", "/run", "/boot", "/mnt", "/sys", "/media", "/etc/ssh")
        if os.path.exists(name)
    ]


@attempt("find the canary in the environment")
def _canary_environment(planted: dict[str, Any]) -> object:
    return [name for name, value in os.environ.items() if planted["word"] in value or planted["word"] in name]


@attempt("find anything undeclared in the environment")
def _environment(planted: dict[str, Any]) -> object:
    return sorted(set(os.environ) - set(planted["environment"]) - {"PWD", "LC_CTYPE"})


@attempt("find the canary in any process's environment, command line or memory")
def _canary_processes(planted: dict[str, Any]) -> object:
    word, found = planted["word"].encode(), list[str]()
    for process in filter(str.isdigit, os.listdir("/proc")):
        if int(process) == os.getpid():
            continue
        for part in ("environ", "cmdline"):
            with contextlib.suppress(OSError):
                if word in Path(f"/proc/{process}/{part}").read_bytes():
                    found.append(f"{process}/{part}")
        with contextlib.suppress(OSError):
            os.close(os.open(f"/proc/{process}/mem", os.O_RDONLY))
            if process != str(os.getppid()):
                continue
            found.append(f"{process}/mem")
    return found


@attempt("see the server's processes")
def _processes(planted: dict[str, Any]) -> object:
    found = [int(process) for process in os.listdir("/proc") if process.isdigit()]
    return found if len(found) > MOST_PROCESSES or planted["process"] in found else ""


@attempt("signal the server")
def _signal(planted: dict[str, Any]) -> object:
    os.kill(planted["process"], 0)
    return "it can be signalled"


@attempt("find descriptors that were left open")
def _descriptors(_: dict[str, Any]) -> object:
    found = list[str]()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{number}")
            if int(number) > STANDARD_ERROR and not target.startswith("/proc/"):
                found.append(target)
    return found


@attempt("write where programs lie")
def _write_programs(_: dict[str, Any]) -> object:
    return _written("/usr/bin/x", "/bin/x", "/usr/lib/x", "/usr/bin/env", "/opt/operalta/inside/program.py")


@attempt("write settings")
def _write_settings(_: dict[str, Any]) -> object:
    return _written("/etc/passwd", "/etc/ld.so.preload", "/etc/x", "/x", "/srv/x", "/dev/x", "/opt/x")


@attempt("write kernel settings")
def _write_kernel(_: dict[str, Any]) -> object:
    return _written("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sysrq-trigger",
                    "/proc/sys/vm/drop_caches", "/proc/self/uid_map", "/proc/self/oom_score_adj",
                    "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "/sys/kernel/uevent_helper")  # fmt: skip


def _written(*names: str) -> list[str]:
    done = list[str]()
    for name in names:
        with contextlib.suppress(OSError):
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT, 0o600)
            os.close(descriptor)
            done.append(name)
    return done


@attempt("rename and remove programs")
def _rename(_: dict[str, Any]) -> object:
    os.rename("/usr/bin/env", "/usr/bin/env2")
    return "renamed"


@attempt("write through a hard link")
def _hard_link(_: dict[str, Any]) -> object:
    os.link("/etc/passwd", "/work/passwd")
    Path("/work/passwd").write_text("x")
    return "written"


@attempt("write through a descriptor's name")
def _reopen(_: dict[str, Any]) -> object:
    descriptor = os.open("/usr/bin/env", os.O_RDONLY)
    os.close(os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY))
    return "opened for writing"


@attempt("make devices")
def _devices(_: dict[str, Any]) -> object:
    made = list[str]()
    for kind, number in ((stat.S_IFBLK, os.makedev(254, 0)), (stat.S_IFCHR, os.makedev(1, 1))):
        with contextlib.suppress(OSError):
            os.mknod("/work/device", kind | 0o600, number)
            made.append(str(number))
    return made


@attempt("open raw memory and disks")
def _raw(_: dict[str, Any]) -> object:
    opened = list[str]()
    for name in (
        "/dev/mem",
        "/dev/kmsg",
        "/dev/vda",
        "/dev/sda",
        "/dev/kvm",
        "/dev/fuse",
        "/dev/net/tun",
        "/proc/kcore",
    ):
        with contextlib.suppress(OSError), open(name, "rb") as file:
            if file.read(1):
                opened.append(name)
    return opened


@attempt("read kernel secrets")
def _kernel_secrets(_: dict[str, Any]) -> object:
    read = list[str]()
    for name in ("/proc/keys", "/proc/kallsyms", "/proc/timer_list", "/proc/kmsg"):
        with contextlib.suppress(OSError):
            if os.path.exists(name) and Path(name).read_bytes():
                read.append(name)
    return read
