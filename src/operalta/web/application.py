"""The application: every router under its guard. `app.py` gives it its services."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.responses import Response
from starlette.types import Scope

from operalta import __version__
from operalta.web import callbacks, documentation, health, problems
from operalta.web.api import routers as api_routers
from operalta.web.pages import routers as page_routers
from operalta.web.rendering import STATIC_FOLDER
from operalta.web.security import SecurityLayer
from operalta.web.services import Services

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def make_application(services: Services, lifespan: Lifespan) -> FastAPI:
    """Return the application with all its routes."""
    application = FastAPI(
        title="Operalta",
        version=__version__,
        summary="A company's people and agents, working on its own memory.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
        strict_content_type=True,
    )
    application.state.services = services
    problems.install(application)
    add_routes(application)
    application.add_middleware(SecurityLayer, settings=services.settings)
    return application


def add_routes(application: FastAPI) -> None:
    """Add every route there is. None is added anywhere else, so that `declarations.check_routes` sees them all."""
    application.include_router(health.router)
    application.include_router(callbacks.router, include_in_schema=False)
    for router in api_routers:
        application.include_router(router, prefix="/api/v1")
    for router in page_routers:
        application.include_router(router, include_in_schema=False)
    documentation.install(application)
    application.mount("/static", _Assets(directory=STATIC_FOLDER), name="static")


class _Assets(StaticFiles):
    """Files that are addressed by their content, so they never change under one address."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Serve a file to be kept for a year."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response
