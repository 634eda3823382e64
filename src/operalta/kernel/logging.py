"""Logs: one JSON line an event on standard output, with what could be a secret taken out.

What people wrote and what they presented stays out of logs by never being passed in; the redaction here is the
second net, not the first.
"""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

_SECRET_NAMES = re.compile(r"password|secret|token|cookie|authorization|pepper|api_?key|digest", re.IGNORECASE)
_SECRET_SHAPES = re.compile(
    r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"  # a JWT
    r"|op_[A-Za-z0-9_]{16,}"  # a key of this product
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # the credentials of a URL
    r"|(?<=token=)[\w-]{16,}"
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
    """Take out values whose name or shape says that they are secret, and shorten what is long."""
    for name, value in event.items():
        event[name] = _REDACTED if _SECRET_NAMES.search(name) else _redacted(value)
    return event


def _redacted(value: object) -> object:
    match value:
        case str():
            return _SECRET_SHAPES.sub(_REDACTED, value)[:_LONGEST]
        case list() | tuple():
            return [_redacted(each) for each in list[object](value)]  # pyright: ignore[reportUnknownArgumentType]
        case _:
            return value


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
