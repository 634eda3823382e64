"""Pages: one file a page, each thin over one service."""

from operalta.web.pages import account, agents, approvals, chat, companies, entrance

routers = (entrance.router, account.router, companies.router, chat.router, approvals.router, agents.router)
