"""What other services tell us without being asked: delivery receipts of the SMS provider.

They come without cookies, from no page of ours; their signature is what is believed.
"""

from typing import Annotated

from fastapi import APIRouter, Depends

from operalta.guard import rules
from operalta.web.entry import ForVisitors, VisitorEntry

router = APIRouter()

Receiving = Annotated[VisitorEntry, Depends(ForVisitors(rules.SMS_RECEIPT))]


@router.post("/callbacks/sms/{provider}", status_code=204)
async def take_receipt(entry: Receiving, provider: str) -> None:
    """Note what became of a message. 404 where this provider is not in use, 403 for what it has not signed."""
    await entry.services.sms_receipts.take(provider, entry.request.headers, await entry.request.body())
