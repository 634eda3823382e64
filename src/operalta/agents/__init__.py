"""Agents: what they are, what they are told, what they may do, whom they ask, and every step of what they did.

What lives here: runs and the worker's loop over them (`runner`, `journal`, `history`, `dispatch`), agents as
companies define them (`definitions`), the context that a run is told (`context`), tools and what they do (`registry`,
`*_tools`), the tool policy (`policy` decides; `provenance`, `quotation`, `vouching`, `gateway` say whose words
something is), approvals, schedules, limits of a day, and the ways to models (`model_routes`).

What may not live here: the work of a tool on the company's data, which is a service function of `workspace` or
`vault`; HTTP in or out (`web`, `sandbox.egress`); templates.
"""
