"""The MCP server's one address. The protocol describes itself, so the API's description leaves it out."""

from typing import Annotated

from fastapi import APIRouter, Depends

from operalta.access.rules import Permission
from operalta.guard import rules
from operalta.web.entry import CompanyEntry, InCompanyOfKey
from operalta.web.mcp_server import McpAnswer

router = APIRouter()

Serving = Annotated[CompanyEntry, Depends(InCompanyOfKey(Permission.COMPANY_READ, rules.READ))]


@router.post("/mcp", include_in_schema=False)
async def serve(entry: Serving) -> McpAnswer:
    """Answer one message of a program's model: which tools there are, or a call of one.

    The key needs `company:read` besides the scopes of what it uses.
    """
    return McpAnswer(entry)
