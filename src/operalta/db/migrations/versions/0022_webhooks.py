"""See `0022_webhooks.sql`."""

from operalta.db.migrations.script import run

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run("0022_webhooks.sql")
