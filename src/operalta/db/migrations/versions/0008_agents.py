"""See `0008_agents.sql`."""

from operalta.db.migrations.script import run

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run("0008_agents.sql")
