"""Pages: one file a page, each thin over one service."""

from operalta.web.pages import (
    account,
    agents,
    approvals,
    audit,
    chat,
    companies,
    entrance,
    files,
    memory,
    metrics,
    trust,
)

routers = (entrance.router, account.router, companies.router, chat.router, approvals.router, agents.router)
routers += (memory.router, metrics.router, files.router, audit.router, trust.router)
