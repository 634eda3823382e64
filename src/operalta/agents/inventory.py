"""What the agents room keeps about people and their companies."""

from operalta.kernel.inventory import Erasure, InventoryEntry, StoreKind

_WITH_CONVERSATION = "As long as the conversation that it belongs to."


def _table(store: str, purpose: str, owner: str, categories: tuple[str, ...], retention: str) -> InventoryEntry:
    return InventoryEntry(store, StoreKind.TABLE, purpose, owner, categories, retention, Erasure.DELETE, exported=True)


ENTRIES: tuple[InventoryEntry, ...] = (
    _table(
        "agents.agents",
        "Define the company's agents: purpose, instructions, tools, limits.",
        "company_id",
        ("names", "instructions that members wrote"),
        "As long as the company exists.",
    ),
    _table(
        "agents.agent_versions",
        "Keep what each agent was told and granted before, and who changed it.",
        "company_id",
        ("names", "instructions that members wrote", "who changed them, when"),
        "As long as the company exists.",
    ),
    _table(
        "agents.runs",
        "Carry out what a message asks for, over crashes too.",
        "person_id",
        ("who asked which agent, when, in which session", "outcome"),
        _WITH_CONVERSATION,
    ),
    _table(
        "agents.schedules",
        "Ask an agent at set times what a member wants asked, with that member's rights.",
        "owner_id",
        ("instructions that members wrote", "times, and the time zone that they live by"),
        "Until a member removes it, or the company is erased.",
    ),
    _table(
        "agents.run_events",
        "Keep every step of a run, so that it can be watched, resumed and examined.",
        "run_id",
        ("what was asked, found and answered", "arguments and results of tools"),
        _WITH_CONVERSATION,
    ),
    _table(
        "agents.tool_calls",
        "Make the effects of a run happen at most once.",
        "run_id",
        ("tool names", "results of tools"),
        _WITH_CONVERSATION,
    ),
    _table(
        "agents.approvals",
        "Ask a person before an action that nobody vouched for, and keep who decided.",
        "requester_id",
        ("exact arguments of an action", "who decided, when, in which session"),
        _WITH_CONVERSATION,
    ),
    _table(
        "agents.grants",
        "Hold an approval for the rest of a conversation.",
        "requester_id",
        ("tool names", "who gave it, to whom"),
        _WITH_CONVERSATION,
    ),
    _table(
        "agents.approval_rules",
        "Keep who may decide about which class of tool.",
        "company_id",
        ("who changed which rule, when",),
        "As long as the company exists.",
    ),
    _table(
        "agents.approval_mail",
        "Keep about which waiting questions a member wants mail.",
        "person_id",
        ("a choice of a member's",),
        "As long as the company exists.",
    ),
    _table(
        "agents.allowed_routes",
        "Keep which model routes the company allows, as it saw their approval records.",
        "company_id",
        ("who allowed which route, when",),
        "Until a member withdraws it, or the company is erased.",
    ),
    _table(
        "agents.allowed_regions",
        "Keep in which regions the company lets models be asked.",
        "company_id",
        ("who allowed which region, when",),
        "Until a member withdraws it, or the company is erased.",
    ),
    _table(
        "agents.day_limits",
        "Keep how much the company's agents may use in a day.",
        "company_id",
        ("who changed it, when",),
        "As long as the company exists.",
    ),
    _table(
        "agents.day_use",
        "Count what each run used on which day, and hold the company's agents to their limit.",
        "company_id",
        ("amounts",),
        "As long as the company exists.",
    ),
    _table(
        "agents.model_requests",
        "Tell which provider was asked for which run, where, when and at what cost; never what was said.",
        "company_id",
        ("destinations", "amounts"),
        "400 days.",
    ),
    InventoryEntry(
        store="model providers",
        kind=StoreKind.PROVIDER,
        purpose="Answer what agents are asked, where the operator has approved a route.",
        owner="",
        categories=("prompts of runs",),
        retention="As the approval record of the route says.",
        erasure=Erasure.EXPIRE,
        exported=False,
    ),
)
