"""The JSON API under `/api/v1`: one file a resource, each thin over one service."""

from fastapi import APIRouter

from operalta.web.api import audit, auth, companies, files, memory, metrics, trust

routers: tuple[APIRouter, ...] = (auth.router, companies.router, memory.router, metrics.router, files.router)
routers += (audit.router, trust.router)
