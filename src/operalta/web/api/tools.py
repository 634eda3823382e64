"""Tools: what agents can be allowed to do here, and what cannot be done here, with the reason."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from operalta.access.rules import Permission
from operalta.agents.tool_functions import tools_here
from operalta.guard import rules
from operalta.web.api.models import REFUSALS, Listing, Shown
from operalta.web.entry import CompanyEntry, InCompany

router = APIRouter(prefix="/companies/{company}/tools", tags=["agents"], responses=REFUSALS)

Reading = Annotated[CompanyEntry, Depends(InCompany(Permission.AGENTS_READ, rules.READ))]


class Tool(Shown):
    """A tool. `permission` is what the person must hold for whom an agent uses it.

    `always_asks`: a person approves each call. `absent_because` tells why it cannot be used here; null where it can.
    """

    name: str
    title: str
    purpose: str
    tool_class: str
    permission: str
    always_asks: bool
    absent_because: str | None
    arguments: dict[str, Any]


@router.get("")
async def list_tools(entry: Reading) -> Listing[Tool]:
    """List the tools of this deployment with the schemas of their arguments."""
    async with entry.scope():
        pass
    return Listing[Tool](
        items=tuple(
            Tool(
                name=tool.name,
                title=tool.title,
                purpose=tool.purpose,
                tool_class=tool.tool_class.value,
                permission=tool.permission,
                always_asks=tool.always_asks,
                absent_because=tool.absent_because,
                arguments=dict(tool.schema),
            )
            for tool in tools_here(entry.services.shell_state())
        )
    )
