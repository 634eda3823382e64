"""See `0031_delegation.sql`."""

from operalta.db.migrations.script import run

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    run("0031_delegation.sql")
