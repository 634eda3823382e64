"""Another process of the deployment, for tests: asks for one token many times at once and prints what it got.

Started as `python -m tests.vault.another_process`, with its orders as JSON on its standard input.
"""

import asyncio
import json
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from uuid import UUID

from operalta.db.pools import Pool
from operalta.db.scope import Origin, Scope, open_company_scope
from operalta.kernel.errors import Refusal
from operalta.sealing.company_keys import CompanyKeys
from operalta.sealing.envelope import Envelope
from operalta.sealing.keys import RootKeys
from operalta.settings import DatabaseRole
from operalta.vault.oauth.client import OAuthClient
from operalta.vault.oauth.tokens import ConnectionTokens
from operalta.vault.opening import Opener
from operalta.vault.secrets import Secrets
from tests.vault.authorization_server import AuthorizationServer
from tests.vault.desk import door_maker


async def ask(orders: dict[str, str]) -> list[str]:
    envelope = Envelope(CompanyKeys(Path(orders["keys"]), RootKeys.from_text(orders["root"].encode())))
    client = OAuthClient(door_maker(AuthorizationServer(port=int(orders["port"]))))
    pool = Pool(DatabaseRole.WEB, orders["dsn"], 4)
    await pool.open()
    tokens = ConnectionTokens(pool, Opener(envelope), Secrets(envelope), client)

    def scope() -> AbstractAsyncContextManager[Scope]:
        return open_company_scope(pool, orders["session"], orders["company"], Origin(address="test"))

    async def one() -> str:
        try:
            return await tokens.token_for(scope, UUID(orders["connection"]), "send a report")
        except Refusal as refusal:
            return refusal.code

    try:
        return await asyncio.gather(*(one() for _ in range(int(orders["callers"]))))
    finally:
        await pool.close()


if __name__ == "__main__":
    print(json.dumps(asyncio.run(ask(json.load(sys.stdin)))))  # noqa: T201 - to the test that started it
