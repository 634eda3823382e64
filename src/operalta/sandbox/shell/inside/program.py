"""The program inside a sandbox: it shuts itself in, takes one command over its standard streams, runs it, and ends.

It imports the standard library alone, because nothing else of the product is in the sandbox. It has the same user as
the command that it starts and could be tampered with by it, so the server believes nothing that it says. Its caps are
second lines; the server holds the first.
"""

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import socket
import stat
import struct
import sys
from pathlib import Path
from typing import Any

from .frames import (
    CHANGED,
    DONE,
    ENDED,
    FILE,
    INPUT,
    LONGEST_NAME,
    NOT_RETURNED,
    OUTPUT,
    PIECE,
    READY,
    REMOVED,
    RUN,
    receive,
    send,
    send_named,
)
from .landlock import shut_in
from .tunnels import Tunnels

WORK = "/work"
TEMPORARY = "/tmp"
PROXY_PORT = 3128
_DUMPABLE = 4


def main() -> None:
    """Shut in, wait for a command, run it, tell what came of it."""
    settings: dict[str, Any] = json.loads(sys.argv[1])
    proxy = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    proxy.bind(("127.0.0.1", PROXY_PORT))
    _come_last()
    _limit(settings["limits"])
    shut_in(settings["readable"], settings["writable"], PROXY_PORT)
    ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)
    send(READY)
    job, files, standard_input = _take_job()
    for name, content in files.items():
        _put(name, content)
    before = _look() if job["returns_files"] else {}
    code = _run(job, standard_input, proxy)
    with contextlib.suppress(OSError):
        os.kill(-1, signal.SIGKILL)  # all but this program and the namespace's first
    send(ENDED, json.dumps({"code": code}).encode())
    if job["returns_files"]:
        _return_files(before, files, settings["limits"])
    send(DONE)
    os._exit(0)


def _come_last() -> None:
    """Let the server's own processes go before, and have the kernel end this sandbox first where memory is short."""
    os.nice(10)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def _limit(limits: dict[str, int]) -> None:
    for name, value in (
        ("RLIMIT_AS", limits["address_space_bytes"]),
        ("RLIMIT_CORE", 0),
        ("RLIMIT_FSIZE", limits["file_bytes"]),
        ("RLIMIT_MEMLOCK", 0),
        ("RLIMIT_MSGQUEUE", 0),
        ("RLIMIT_NOFILE", limits["descriptors"]),
        ("RLIMIT_NPROC", limits["processes"]),
        ("RLIMIT_RTPRIO", 0),
        ("RLIMIT_CPU", int(limits["seconds"] * 4) + 1),
    ):
        resource.setrlimit(getattr(resource, name, -1), (value, value))


def _take_job() -> tuple[dict[str, Any], dict[str, bytes], bytes]:
    files: dict[str, bytes] = {}
    standard_input = b""
    while True:
        kind, payload = receive()
        if kind == FILE:
            (length,) = struct.unpack_from(">H", payload)
            files[payload[2 : 2 + length].decode()] = payload[2 + length :]
        elif kind == INPUT:
            standard_input = payload
        elif kind == RUN:
            return json.loads(payload), files, standard_input


# ── Files ─────────────────────────────────────────────────────────────────────────────────────────────


def _put(name: str, content: bytes) -> None:
    path = Path(WORK) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _look() -> dict[str, tuple[int, int, int]]:
    """Return what lies in the folder: ordinary files alone, with what changes when they do."""
    found: dict[str, tuple[int, int, int]] = {}
    for folder, folders, names in os.walk(WORK):
        for name in folders:
            with contextlib.suppress(OSError):
                _open_again(os.path.join(folder, name))
        for name in names:
            path = os.path.join(folder, name)
            with contextlib.suppress(OSError):
                entry = os.lstat(path)
                if stat.S_ISREG(entry.st_mode):
                    found[path[len(WORK) + 1 :]] = (entry.st_ino, entry.st_size, entry.st_mtime_ns)
    return found


def _open_again(folder: str) -> None:
    """Let a folder be entered and listed, whatever the command made of it."""
    if not stat.S_ISLNK(os.lstat(folder).st_mode):
        os.chmod(folder, 0o700)


def _can_be_told(name: str) -> bool:
    """Whether a name can be said as it is: in UTF-8, and not too long."""
    try:
        return len(name.encode()) <= LONGEST_NAME
    except UnicodeEncodeError:
        return False


def _is_gone(name: str) -> bool:
    try:
        os.lstat(f"{WORK}/{name}")
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


def _return_files(before: dict[str, tuple[int, int, int]], given: dict[str, bytes], limits: dict[str, int]) -> None:
    _open_again(WORK)
    after = _look()
    room, places = limits["returned_bytes"], limits["returned_files"]
    for name, state in sorted(after.items()):
        if before.get(name) == state:
            continue
        fits = state[1] <= room and places > 0 and _can_be_told(name)
        content = _content(name, limits["file_bytes"]) if fits else None
        if content is None:
            send_named(NOT_RETURNED, name)
        elif given.get(name) != content:
            send_named(CHANGED, name, content)
            room -= len(content)
            places -= 1
    for name in sorted(before.keys() - after.keys()):
        if _is_gone(name):
            send_named(REMOVED, name)


def _content(name: str, most: int) -> bytes | None:
    try:
        descriptor = os.open(f"{WORK}/{name}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            content = file.read(most + 1)
    except OSError:
        return None
    return content if len(content) <= most else None


# ── The command ───────────────────────────────────────────────────────────────────────────────────────


def _run(job: dict[str, Any], standard_input: bytes, proxy: socket.socket) -> int:
    reading, writing = os.pipe()
    source = _as_file(standard_input)
    actions = [(os.POSIX_SPAWN_DUP2, source, 0), (os.POSIX_SPAWN_DUP2, writing, 1), (os.POSIX_SPAWN_DUP2, writing, 2)]
    arguments, environment = job["arguments"], job["environment"]
    try:
        process = os.posix_spawnp(
            arguments[0], arguments, environment, file_actions=actions, setsigdef=(signal.SIGPIPE, signal.SIGXFSZ)
        )
    except OSError as error:
        send(OUTPUT, f"{arguments[0]}: {os.strerror(error.errno or 0)}\n".encode())
        return 127
    os.close(writing)
    os.close(source)
    tunnels = Tunnels(proxy) if job["network"] else None
    _attend(process, reading, tunnels)
    _, status = os.waitpid(process, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _as_file(content: bytes) -> int:
    if not content:
        return os.open("/dev/null", os.O_RDONLY)
    name = f"{TEMPORARY}/.standard-input"
    descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(name)
    with open(os.dup(descriptor), "wb") as file:
        file.write(content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _attend(process: int, reading: int, tunnels: Tunnels | None) -> None:
    """Pass on what is written until the command itself has ended, and what it had written by then."""
    ended = os.pidfd_open(process)
    os.set_blocking(reading, False)
    with selectors.DefaultSelector() as watched:
        watched.register(ended, selectors.EVENT_READ)
        watched.register(reading, selectors.EVENT_READ)
        if tunnels is not None:
            tunnels.listen(watched)
        while True:
            ready = {key.fd for key, _ in watched.select()}
            if reading in ready and not _pass_on(reading):
                watched.unregister(reading)
                if tunnels is None:
                    break
            if ended in ready:
                _pass_on_the_rest(reading)
                break
            if tunnels is not None:
                tunnels.serve(ready)


def _pass_on_the_rest(reading: int) -> None:
    """Pass on what the pipe holds; whoever still writes into it was left behind by the command."""
    for _ in range(1 + 65_536 // PIECE):
        if not _pass_on(reading):
            return


def _pass_on(reading: int) -> bool:
    """Pass one piece on. False: there is none at this moment, or none will come."""
    try:
        piece = os.read(reading, PIECE)
    except BlockingIOError:
        return False
    if piece:
        send(OUTPUT, piece)
    return bool(piece)
