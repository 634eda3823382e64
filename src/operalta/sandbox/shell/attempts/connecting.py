"""Attempts to reach others: sockets, terminals, shared memory."""

import contextlib
import fcntl
import os
import pty
import socket
from pathlib import Path
from typing import Any

from .registry import attempt


@attempt("make sockets of odd families")
def _families(_: dict[str, Any]) -> object:
    made = list[str]()
    for name, family, kind in (
        ("AF_VSOCK", 40, socket.SOCK_STREAM), ("AF_NETLINK", 16, socket.SOCK_RAW),
        ("AF_PACKET", 17, socket.SOCK_RAW), ("AF_ALG", 38, socket.SOCK_SEQPACKET),
        ("raw", socket.AF_INET, socket.SOCK_RAW), ("AF_BLUETOOTH", 31, socket.SOCK_RAW),
        ("AF_TIPC", 30, socket.SOCK_SEQPACKET), ("AF_XDP", 44, socket.SOCK_RAW),
    ):  # fmt: skip
        with contextlib.suppress(OSError), socket.socket(family, kind):
            made.append(name)
    with contextlib.suppress(OSError):
        for each in socket.socketpair(16, socket.SOCK_RAW):
            each.close()
        made.append("a pair of AF_NETLINK")
    return made


@attempt("connect to the server over its loopback")
def _loopback(planted: dict[str, Any]) -> object:
    return _connected(socket.AF_INET, ("127.0.0.1", planted["port"]))


@attempt("connect to a metadata service")
def _metadata(_: dict[str, Any]) -> object:
    return _connected(socket.AF_INET, ("169.254.169.254", 80))


@attempt("connect over IPv6")
def _loopback_six(planted: dict[str, Any]) -> object:
    return _connected(socket.AF_INET6, ("::1", planted["port"]))


@attempt("connect to an abstract socket of the server")
def _abstract(planted: dict[str, Any]) -> object:
    return _connected(socket.AF_UNIX, "\0" + planted["abstract"])


@attempt("connect to a named socket of the server")
def _named(planted: dict[str, Any]) -> object:
    return _connected(socket.AF_UNIX, planted["socket"])


def _connected(family: int, address: Any) -> str:
    with socket.socket(family, socket.SOCK_STREAM) as tried:
        tried.settimeout(2)
        tried.connect(address)
    return f"connected to {address}"


@attempt("send datagrams out")
def _datagrams(_: dict[str, Any]) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as tried:
        tried.sendto(b"x", ("192.0.2.1", 53))
    return "sent"


@attempt("see network interfaces")
def _interfaces(_: dict[str, Any]) -> object:
    return [name for _, name in socket.if_nameindex() if name != "lo"]


@attempt("resolve a name")
def _resolve(_: dict[str, Any]) -> object:
    try:
        return socket.getaddrinfo("example.com", 80)
    except socket.gaierror:
        return ""


@attempt("listen for connections")
def _listen(_: dict[str, Any]) -> object:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        tried.bind(("127.0.0.1", 0))
    return "bound"


@attempt("type into a terminal")
def _typing(_: dict[str, Any]) -> object:
    typed = list[str]()
    for code in (0x5412, 0x541C):
        pair = pty.openpty()
        try:
            fcntl.ioctl(pair[1], code, b"x")
            typed.append(hex(code))
        except OSError:
            pass
        finally:
            for each in pair:
                os.close(each)
    with contextlib.suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDWR))
        typed.append("there is a terminal")
    return typed


@attempt("find the server's shared memory")
def _shared_memory(_: dict[str, Any]) -> object:
    return os.listdir("/dev/shm")


@attempt("find the server's System V memory")
def _system_five(_: dict[str, Any]) -> object:
    return Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
