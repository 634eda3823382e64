"""See `0011_sessions_with_factors.sql`."""

from operalta.db.migrations.script import run

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run("0011_sessions_with_factors.sql")
