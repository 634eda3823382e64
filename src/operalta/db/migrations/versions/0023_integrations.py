"""See `0023_integrations.sql`."""

from operalta.db.migrations.script import run

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run("0023_integrations.sql")
