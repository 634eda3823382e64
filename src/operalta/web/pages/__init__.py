"""Pages: one file a page, each thin over one service."""

from operalta.web.pages import (
    account,
    agents,
    api_keys,
    approvals,
    artifacts,
    audit,
    chat,
    companies,
    day_limits,
    entrance,
    factors,
    files,
    files_bin,
    integrations,
    integrations_services,
    memory,
    metrics,
    model_routes,
    schedules,
    second_factor,
    staff,
    trust,
    webhooks,
    webhooks_inbound,
)

routers = (entrance.router, second_factor.router, account.router, factors.router)
routers += (companies.router, staff.router, chat.router, approvals.router, agents.router)
routers += (schedules.router, day_limits.router)
routers += (memory.router, metrics.router, files_bin.router, files.router, artifacts.router, audit.router, trust.router)
routers += (api_keys.router,)
routers += (webhooks.router, webhooks_inbound.router)
routers += (integrations.router, integrations_services.router, model_routes.router)
