"""Landlock within the sandbox: what may be read, what may be written, one local port; nothing else, for good."""

import contextlib
import ctypes
import os
from pathlib import Path
from typing import Any

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READS = 0b1101  # execute, read files, list folders
_MAKES_DEVICES = 1 << 6 | 1 << 11
_PATH_RULE, _PORT_RULE, _CONNECT = 1, 2, 2
_HANDLED_BY_VERSION = (0, 0x1FFF, 0x3FFF, 0x7FFF, 0x7FFF, 0xFFFF)
_NETWORK_VERSION, _SCOPES_VERSION = 4, 6

_libc = ctypes.CDLL(None, use_errno=True)


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("directory", ctypes.c_int32))


class _Port(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


def shut_in(readable: list[str], writable: list[str], port: int) -> None:
    """Allow reading below some folders, writing below others, one local port, and nothing else, for good.

    Raise OSError where the kernel cannot: then the sandbox ends before it was ready.
    """
    version = _call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    handled = _HANDLED_BY_VERSION[min(version, len(_HANDLED_BY_VERSION) - 1)]
    rules = _Ruleset(handled, 0b11 if version >= _NETWORK_VERSION else 0, 0b11 if version >= _SCOPES_VERSION else 0)
    size = 24 if version >= _SCOPES_VERSION else 16 if version >= _NETWORK_VERSION else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), ctypes.c_size_t(size), ctypes.c_uint32(0))
    for allowed, paths in ((_READS & handled, readable), (handled & ~_MAKES_DEVICES, writable)):
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                _allow(ruleset, path, allowed)
    if version >= _NETWORK_VERSION:
        open_port = _Port(_CONNECT, port)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PORT_RULE), ctypes.byref(open_port), ctypes.c_uint32(0))
    _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    os.close(ruleset)


def _allow(ruleset: int, path: str, allowed: int) -> None:
    directory = os.open(path, os.O_PATH | os.O_CLOEXEC)
    if not Path(path).is_dir():
        allowed &= 0x8007 | 1 << 14  # of the rights, those that a file has
    rule = _Beneath(allowed, directory)
    _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_RULE), ctypes.byref(rule), ctypes.c_uint32(0))
    os.close(directory)


def _call(number: int, *arguments: Any) -> int:
    outcome = int(_libc.syscall(ctypes.c_long(number), *arguments))
    if outcome < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return outcome
