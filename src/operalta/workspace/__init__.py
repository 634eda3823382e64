"""The company's data: conversations, the memory ledger, metrics, files, artifacts.

What lives here: one folder a kind, each with its rules, its SQL and its use-cases. Pages, API and the tools of agents
call these same functions, so that a right or a bound holds whoever calls.

What may not live here: agents (a message is kept here, and its run is theirs), keys and integrations (`vault`), HTTP.
No kind writes to another's tables.
"""
