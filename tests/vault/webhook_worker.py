"""Another worker of the deployment, for tests: sends one webhook, unless it is killed before.

Started as `python -m tests.vault.webhook_worker`, with its orders as JSON on its standard input.
"""

import asyncio
import json
import sys
from pathlib import Path

from operalta.db.pools import Pool
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.sealing.keys import RootKeys
from operalta.settings import DatabaseRole
from operalta.vault.opening import Opener
from operalta.vault.webhooks.sending import WebhookSender
from tests.vault.post import door_to


async def send(orders: dict[str, str]) -> None:
    pool = Pool(DatabaseRole.JOB, orders["dsn"], 2)
    await pool.open()
    keys = CompanyKeys(Path(orders["keys"]), RootKeys.from_text(orders["root"].encode()))
    await WebhookSender(pool, Opener(Envelope(keys)), door_to(orders["exemption"])).send_one()


if __name__ == "__main__":
    asyncio.run(send(json.load(sys.stdin)))
