"""See `0033_day_limits.sql`."""

from operalta.db.migrations.script import run

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    run("0033_day_limits.sql")
