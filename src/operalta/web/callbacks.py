"""What other services tell us without being asked: receipts of the SMS provider, and messages to companies' hooks.

They come without cookies, from no page of ours; their signature is what is believed.
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import PlainTextResponse, Response

from operalta.guard import rules
from operalta.guard.subjects import hook_identity
from operalta.web.entry import ForVisitors, VisitorEntry

router = APIRouter()

Receiving = Annotated[VisitorEntry, Depends(ForVisitors(rules.SMS_RECEIPT))]


@router.post("/callbacks/sms/{provider}", status_code=204)
async def take_receipt(entry: Receiving, provider: str) -> None:
    """Note what became of a message. 404 where this provider is not in use, 403 for what it has not signed."""
    await entry.services.sms_receipts.take(provider, entry.request.headers, await entry.request.body())


Hooking = Annotated[VisitorEntry, Depends(ForVisitors(rules.INBOUND_HOOK))]
Token = Annotated[str, Path(min_length=1, max_length=100)]


@router.post("/hooks/{token}")
async def take_message(entry: Hooking, token: Token) -> Response:
    """Keep a signed message as an untrusted one. 404 for every address that takes nothing, 401 without a hint.

    204, also for what came before. Slack alone gets back what it asks for when it is told the address.
    """
    services = await entry.admit(hook_identity(token))
    request = entry.request
    wanted = await services.inbound.take(token, request.headers, await request.body(), entry.origin)
    return Response(status_code=HTTPStatus.NO_CONTENT) if wanted is None else PlainTextResponse(wanted)
