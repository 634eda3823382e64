"""The JSON API under `/api/v1`: one file a resource, each thin over one service."""

from fastapi import APIRouter

from operalta.web.api import (
    agents,
    api_keys,
    approvals,
    artifacts,
    audit,
    auth,
    companies,
    connections,
    conversations,
    day_limits,
    factors,
    files,
    inbound_hooks,
    integrations,
    mcp,
    memory,
    metrics,
    model_routes,
    openai,
    runs,
    schedules,
    staff,
    tools,
    trust,
    webhooks,
)

routers: tuple[APIRouter, ...] = (
    auth.router,
    factors.router,
    companies.router,
    staff.router,
    memory.router,
    metrics.router,
    files.router,
    artifacts.router,
)
routers += (audit.router, trust.router)
routers += (agents.router, conversations.router, runs.router, schedules.router)
routers += (approvals.router, tools.router, day_limits.router)
routers += (api_keys.router,)
routers += (webhooks.router, inbound_hooks.router)
routers += (connections.router, integrations.router, model_routes.router)
routers += (openai.router, mcp.router)
