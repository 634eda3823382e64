"""Logs: one JSON line an event on standard output, with what could be a secret taken out.

What people wrote and what they presented stays out of logs by never being passed in; the redaction here is the
second net, not the first.
"""

import logging
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, cast

import structlog

_SECRET_NAMES = re.compile(
    r"password|passwd|secret|token|cookie|authorization|pepper|api_?key|digest|credential|private_?key|root_?key|"
    r"signing_?key|access_?key|sealed|plaintext",
    re.IGNORECASE,
)
_SECRET_SHAPES = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"  # a JWT
    r"|op_[0-9A-Za-z]{50}|op_[A-Za-z0-9_]{16,}"  # a key of this product, whole or cut
    r"|-----BEGIN [A-Z0-9 ]{3,40}-----[\s\S]*?(?:-----END [A-Z0-9 ]{3,40}-----|\Z)"  # a PEM block, whole or cut
    r"|(?i:(?<=bearer )|(?<=basic )|(?<=accesskey ))[\w.~+/=-]{8,}"  # what follows a scheme of Authorization
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # the credentials of a URL
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"  # the id of an AWS key
    # its secret: 40 characters with capitals, small letters and digits
    r"|(?<![\w/+=-])(?=[a-z0-9/+]*[A-Z])(?=[A-Z0-9/+]*[a-z])(?=[A-Za-z/+]*[0-9])[A-Za-z0-9/+]{40}(?![\w/+=-])"
    r"|(?<=token=)[\w-]{16,}"
    r"|\b(?:gh[pousr]_[A-Za-z0-9]{36,}|xox[abprs]-[A-Za-z0-9-]{10,}|sk-[A-Za-z0-9_-]{20,})"  # of other services
    r"|\b(?:local|production)_[\w+/=-]{32,}"  # a secret of a deployment
)
_REDACTED = "[redacted]"
_LONGEST = 2_000


def configure() -> None:
    """Set up logging for a process of the product. The standard library's logs go the same way."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_exception_name,
        _without_what_asyncio_quotes,
        redact,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(default=str),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("procrastinate", "httpx2", "httpcore2", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Take out values whose name, kind or shape says that they are secret, and shorten what is long."""
    for name, value in event.items():
        if name.startswith("_"):
            continue  # the library's own, which it takes out itself
        event[name] = _REDACTED if _SECRET_NAMES.search(name) else _redacted(value)
    return event


def without_secrets(text: str) -> str:
    """Return `text` with everything taken out that has the shape of a secret."""
    return _SECRET_SHAPES.sub(_REDACTED, text)


def _redacted(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case bytes() | bytearray() | memoryview():
            # Text is logged as text; bytes are keys, digests and ciphertexts.
            return _REDACTED
        case Mapping():
            fields = cast("Mapping[object, object]", value)
            return {
                str(name): _REDACTED if _SECRET_NAMES.search(str(name)) else _redacted(each)
                for name, each in fields.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_redacted(each) for each in cast("Iterable[object]", value)]
        case _:
            return without_secrets(str(value))[:_LONGEST]


def _with_exception_name(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replace a traceback by the exception's name: a trace holds values of the people it failed for."""
    raised = event.pop("exc_info", None)
    if isinstance(raised, tuple):
        raised = sys.exc_info()[1] if len(raised) < 2 else raised[1]  # noqa: PLR2004 # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if raised is True:
        raised = sys.exc_info()[1]
    if isinstance(raised, BaseException):
        event["error"] = type(raised).__name__
    return event


def _without_what_asyncio_quotes(
    _logger: object, _method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """Keep the first line of what asyncio says: the others quote tasks and exceptions with their values."""
    if event.get("logger") == "asyncio":
        event["event"] = str(event.get("event", "")).partition("\n")[0]
    return event
