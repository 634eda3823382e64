"""See `0024_webhooks_and_their_holders.sql`."""

from operalta.db.migrations.script import run

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    run("0024_webhooks_and_their_holders.sql")
