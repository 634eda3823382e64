"""How a sandbox is set up: the options of bubblewrap, and what Landlock leaves open within.

Everything that can be written is a file system in memory, made for this sandbox and gone with it; no folder of the
host can be written, so there is no place from which a link could lead a later mount astray. What can be read is the
system's programs and the few files that they need.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from operalta.sandbox.shell.rules import MEBIBYTE, CommandLimits
from operalta.terms.registry import upholds

WORK = "/work"
PROXY = "http://127.0.0.1:3128"
OUT_OF_REACH = "/srv/out-of-reach"
"""A file that lies in view and that Landlock forbids: whoever can read it shows that Landlock is not there."""

_HERE = Path(__file__).resolve().parent
_ACCOUNTS = _HERE / "accounts"
_INSIDE = "/opt/operalta/inside"
_BEGIN = "import sys; sys.path.insert(0, '/opt/operalta'); from inside.program import main; main()"
_TEMPORARY, _SHARED_MEMORY = "/tmp", "/dev/shm"  # noqa: S108 - of each sandbox alone
_SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_SETTINGS = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime", "/etc/ssl/certs", "/etc/mime.types")
_HIDDEN_FILES = ("/proc/kcore", "/proc/keys", "/proc/key-users", "/proc/timer_list", "/proc/sched_debug",
                 "/proc/sysrq-trigger", "/proc/latency_stats", "/proc/kallsyms", "/proc/kmsg")  # fmt: skip
_HIDDEN_FOLDERS = ("/proc/acpi", "/proc/scsi", "/proc/bus", "/proc/fs", "/proc/irq")


@dataclass(frozen=True, slots=True)
class Binding:
    """A file or folder of the host, shown inside at another name, to read only."""

    host: Path
    inside: str


@dataclass(frozen=True, slots=True)
class Profile:
    """A kind of sandbox: its limits, and what it shows beyond the system's programs."""

    limits: CommandLimits
    bindings: tuple[Binding, ...] = ()


def namespaces_alone(command: tuple[str, ...]) -> tuple[str, ...]:
    """Return a bare bubblewrap with the same namespaces and nothing else, to compare with."""
    return ("bwrap", *_NAMESPACES, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", *command)


_NAMESPACES = ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts",
               "--unshare-cgroup", "--disable-userns", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
               "--clearenv", "--uid", "1000", "--gid", "1000")  # fmt: skip


@upholds("5.3.1")
def environment(*, network: bool) -> dict[str, str]:
    """Return everything that a command finds in its environment."""
    found = {
        "PATH": f"/usr/local/bin:/usr/bin:/bin:{sys.base_prefix}/bin",
        "HOME": WORK,
        "TMPDIR": _TEMPORARY,
        "USER": "agent",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if network:
        found |= dict.fromkeys(("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"), PROXY)
    return found


@upholds("5.2.1", "5.3.1", "5.3.2")
def options(profile: Profile) -> tuple[str, ...]:
    """Return bubblewrap's options, without the descriptors that are passed at the start."""
    files = str(profile.limits.files_bytes)
    return (
        *_NAMESPACES,
        "--hostname", "sandbox",
        "--ro-bind", "/usr", "/usr",
        *_system(),
        *_etc(),
        *_python(),
        "--ro-bind", str(_HERE / "inside"), _INSIDE,
        "--ro-bind", str(_ACCOUNTS / "out-of-reach"), OUT_OF_REACH,
        *(part for one in profile.bindings for part in ("--ro-bind", str(one.host), one.inside)),
        "--proc", "/proc",
        *(part for path in _HIDDEN_FILES if Path(path).exists() for part in ("--ro-bind", "/dev/null", path)),
        *(part for path in _HIDDEN_FOLDERS if Path(path).is_dir() for part in ("--tmpfs", path, "--remount-ro", path)),
        "--dev", "/dev",
        # It reads as zeros, too, and cannot be mapped: mapped zeros are memory that counts for no process.
        "--dev-bind", "/dev/full", "/dev/zero",
        "--size", str(16 * MEBIBYTE), "--perms", "1777", "--tmpfs", _SHARED_MEMORY,
        "--remount-ro", "/dev",
        "--size", files, "--perms", "1777", "--tmpfs", _TEMPORARY,
        "--size", files, "--perms", "0700", "--tmpfs", WORK,
        "--remount-ro", "/",
        "--chdir", WORK,
    )  # fmt: skip


def command(profile: Profile) -> tuple[str, ...]:
    """Return the inner program as it is started."""
    bound = [one.inside for one in profile.bindings]
    settings = {
        "limits": asdict(profile.limits),
        "readable": ["/usr", *_SYSTEM, "/etc", "/proc", "/opt/operalta", sys.base_prefix, *bound],
        "writable": [WORK, _TEMPORARY, "/dev"],
    }
    return (interpreter(), "-I", "-S", "-B", "-c", _BEGIN, json.dumps(settings))


def interpreter() -> str:
    """Return the interpreter that this process runs on, without its virtual environment."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


def _system() -> tuple[str, ...]:
    made: list[str] = []
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            made += ("--symlink", str(path.readlink()), name)
        elif path.is_dir():
            made += ("--ro-bind", name, name)
    return tuple(made)


def _etc() -> tuple[str, ...]:
    made = ["--dir", "/etc"]
    for name in _SETTINGS:
        if Path(name).exists():
            made += ("--ro-bind", str(Path(name).resolve()), name)
    for name in ("passwd", "group", "hosts", "nsswitch.conf"):
        made += ("--ro-bind", str(_ACCOUNTS / name), f"/etc/{name}")
    return tuple(made)


def _python() -> tuple[str, ...]:
    base = Path(sys.base_prefix)
    return () if base.is_relative_to("/usr") else ("--ro-bind", str(base), str(base))
