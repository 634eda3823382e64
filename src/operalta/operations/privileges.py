"""Leaving root before anything is served: PostgreSQL refuses to run as root, and nothing else needs it.

A clone (or a Python) below a folder that only root may enter, such as root's home, cannot be read by the user we
drop to. Then a mount namespace of our own shows exactly those folders at their usual places, and nothing else
of what is closed.
"""

import grp
import os
import pwd
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from operalta.sandbox.shell.cgroups import MOUNTED, NAME

USER = "operalta"

# $1 user, $2 working folder, then needed folders, "--", closed ancestors, "--", the command.
_ENTER_NAMESPACE = """
user=$1; home=$2; shift 2
mkdir -p /run/operalta-stage
mount -t tmpfs -o mode=0755 tmpfs /run/operalta-stage
count=0; needed=
while [ "$1" != -- ]; do
    count=$((count + 1)); mkdir "/run/operalta-stage/$count"; mount --rbind "$1" "/run/operalta-stage/$count"
    printf '%s\\n' "$1" > "/run/operalta-stage/$count.path"; shift
done
shift
while [ "$1" != -- ]; do mount -t tmpfs -o mode=0755 tmpfs "$1"; shift; done
shift
place=0
while [ "$place" -lt "$count" ]; do
    place=$((place + 1)); path=$(cat "/run/operalta-stage/$place.path")
    mkdir -p "$path"; mount --rbind "/run/operalta-stage/$place" "$path"
done
cd "$home"
exec setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all --no-new-privs -- "$@"
"""


class CannotLeaveRoot(Exception):  # noqa: N818 - read by the operator as a sentence
    """Root cannot be left; the message says what to do."""


def leave_root(
    project: Path,
    owned: tuple[Path, ...],
    environment: dict[str, str] | None = None,
    *,
    module: str = "operalta",
) -> None:
    """Return at once for an ordinary user; as root, start this command again as the user `operalta`, for good.

    `owned` are folders that the user must own; they are made. Raises CannotLeaveRoot with the way out.
    """
    if os.geteuid() != 0:
        return
    _make_user()
    account = pwd.getpwnam(USER)
    for folder in owned:
        _hand_over(folder, account.pw_uid, account.pw_gid)
    _prepare_control_groups(account.pw_uid, account.pw_gid)
    command = [sys.executable, "-m", module, *sys.argv[1:]]
    needed = [path for path in _needed(project) if _closed_ancestors(path)]
    closed = sorted({ancestor for path in needed for ancestor in _closed_ancestors(path)[:1]})
    changed = dict(os.environ) | {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"} | (environment or {})
    sys.stdout.flush()
    if not needed:
        drop = [
            "setpriv",
            "--reuid",
            USER,
            "--regid",
            USER,
            "--clear-groups",
            "--inh-caps=-all",
            "--no-new-privs",
            "--",
        ]
        os.execvpe(drop[0], [*drop, *command], changed)  # noqa: S606 - a fixed command line
    if subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode != 0:
        raise CannotLeaveRoot(
            f"As root, Operalta runs as the user {USER}, who may not enter {closed[0]}. Move this folder to where "
            f"everybody may enter (such as /opt), or run it as an ordinary user."
        )
    enter = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-euc", _ENTER_NAMESPACE, "sh"]
    arguments = [USER, str(project), *map(str, needed), "--", *map(str, closed), "--", *command]
    os.execvpe(enter[0], [*enter, *arguments], changed)  # noqa: S606 - a fixed script


def _prepare_control_groups(user: int, group: int) -> None:
    """Make a place in which the user can bound its sandboxes. Where that is not possible, they do without."""
    unified = (MOUNTED / "cgroup.controllers").exists()
    folders = [MOUNTED / NAME] if unified else [MOUNTED / kind / NAME for kind in ("memory", "pids")]
    with suppress(OSError):
        if unified:
            (MOUNTED / "cgroup.subtree_control").write_text("+memory +pids")
        for folder in folders:
            if not folder.parent.is_dir():
                return
            folder.mkdir(exist_ok=True)
            for path in (folder, folder / "cgroup.procs"):
                os.chown(path, user, group)
        if unified:
            # Version 2 lets a process be moved only within a part of the tree that is one's own, and keeps processes
            # out of groups that are divided further: so this one goes into a leaf beside those of its sandboxes.
            (MOUNTED / NAME / "cgroup.subtree_control").write_text("+memory +pids")
            own = MOUNTED / NAME / "server"
            own.mkdir(exist_ok=True)
            (own / "cgroup.procs").write_text(str(os.getpid()))


def _make_user() -> None:
    try:
        pwd.getpwnam(USER)
        grp.getgrnam(USER)
    except KeyError:
        if shutil.which("useradd") is None:
            raise CannotLeaveRoot(f"Make a user named {USER} first, or run this as an ordinary user.") from None
        subprocess.run(
            ["useradd", "--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", USER],
            check=False,
            capture_output=True,
        )


def _hand_over(folder: Path, user: int, group: int) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotLeaveRoot(f"{folder} cannot be made ({error.strerror}): choose one that can.") from error
    if folder.is_symlink():
        raise CannotLeaveRoot(f"{folder} is a symbolic link: as root, Operalta changes the owner of real folders only.")
    if folder.stat().st_uid == user:
        return
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(place) / name, user, group, follow_symlinks=False)
    os.chown(folder, user, group)


def _needed(project: Path) -> list[Path]:
    """Return the folders without which nothing runs: the project and the Python that its environment points to."""
    return list(dict.fromkeys([project.resolve(), Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve()]))


def _closed_ancestors(path: Path) -> list[Path]:
    """Return the folders above `path` that not everybody may enter, the outermost first."""
    return [ancestor for ancestor in reversed(path.parents) if not ancestor.stat().st_mode & 0o001]
