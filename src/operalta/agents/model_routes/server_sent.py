"""Server-sent events as JSON objects, within bounds: the stream is written by somebody else."""

import json
from collections.abc import AsyncGenerator, AsyncIterable
from typing import Any, cast

from operalta.agents.errors import ModelMisbehaved

LONGEST_LINE = 1_000_000  # bytes


async def json_events(chunks: AsyncIterable[bytes]) -> AsyncGenerator[dict[str, Any]]:
    """Yield the data of each event. `[DONE]` ends the stream. Raise ModelMisbehaved for what is no JSON object."""
    data: list[bytes] = []
    async for line in _lines(chunks):
        if line:
            if line.startswith(b"data:"):
                data.append(line[5:].removeprefix(b" "))
            continue
        text, data = b"\n".join(data), []
        if text == b"[DONE]":
            return
        if text:
            yield _parsed(text)
    if data and data != [b"[DONE]"]:
        yield _parsed(b"\n".join(data))


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        event: object = json.loads(text)
    except (ValueError, RecursionError):
        raise ModelMisbehaved from None
    if not isinstance(event, dict):
        raise ModelMisbehaved
    return cast("dict[str, Any]", event)


async def _lines(chunks: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
    kept = bytearray()
    async for chunk in chunks:
        kept += chunk
        if len(kept) > LONGEST_LINE:
            raise ModelMisbehaved
        if b"\n" not in chunk:
            continue
        *whole, rest = bytes(kept).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r")
        kept = bytearray(rest)
    if kept:
        yield bytes(kept).removesuffix(b"\r")
