"""The API's document and its interactive form: Swagger UI from its package, under a content policy of its own page."""

import json
from functools import cache
from importlib import resources

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, Response

_PARTS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Operalta API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/api/docs/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="/api/docs/swagger-ui-bundle.js"></script><script src="/api/docs/start.js"></script></body></html>
"""
_START = 'SwaggerUIBundle({url: "/api/openapi.json", dom_id: "#swagger-ui", deepLinking: true});\n'


def document(application: FastAPI) -> dict[str, object]:
    """Return the OpenAPI 3.1 document of the JSON API."""
    return get_openapi(
        title=application.title, version=application.version, summary=application.summary, routes=application.routes
    )


def install(application: FastAPI) -> None:
    """Add the document and its page."""

    # Anybody may ask for it, and to write it takes about a second in which nobody else is answered.
    @cache
    def written() -> bytes:
        return json.dumps(document(application), ensure_ascii=False, separators=(",", ":")).encode()

    @application.get("/api/openapi.json", include_in_schema=False)
    async def openapi() -> Response:  # pyright: ignore[reportUnusedFunction] - the application keeps it
        return Response(written(), media_type="application/json")

    @application.get("/api/docs", include_in_schema=False)
    async def page() -> HTMLResponse:  # pyright: ignore[reportUnusedFunction] - as above
        return HTMLResponse(_PAGE)

    @application.get("/api/docs/{part}", include_in_schema=False)
    async def part(part: str) -> Response:  # pyright: ignore[reportUnusedFunction] - as above
        if part == "start.js":
            return Response(_START, media_type="text/javascript")
        if part not in _PARTS:
            return Response(status_code=404)
        content = resources.files("fastapi_swagger.resources").joinpath(part).read_bytes()
        return Response(content, media_type=_PARTS[part])
