"""Delivery receipts: what the provider tells of a message after it was handed over."""

from collections.abc import Mapping

from operalta.db.pools import Pool
from operalta.delivery import store
from operalta.delivery.sms.wire import Wire
from operalta.kernel.errors import NotFound, TooLarge
from operalta.terms.registry import upholds

LONGEST_RECEIPT_BYTES = 64 * 1024


class Receipts:
    """Takes receipts with the web role's `pool`, from the provider whose `wire` is in use; None: from nobody."""

    def __init__(self, pool: Pool, wire: Wire | None) -> None:
        self._pool = pool
        self._wire = wire

    @upholds("2.2.1")
    async def take(self, provider: str, headers: Mapping[str, str], body: bytes) -> None:
        """Note what a signed receipt says; one that comes again, or is of no message of ours, changes nothing.

        Raise NotFound where `provider` is not in use, TooLarge, or ReceiptRefused.
        """
        if self._wire is None or self._wire.name != provider:
            raise NotFound
        if len(body) > LONGEST_RECEIPT_BYTES:
            raise TooLarge
        receipt = self._wire.receipt(headers, body)
        if receipt is None:
            return
        async with self._pool.acquire() as connection, connection.transaction():
            await store.note_receipt(connection, receipt.reference, receipt.outcome.value)
