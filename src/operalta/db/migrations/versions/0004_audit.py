"""See `0004_audit.sql`."""

from operalta.db.migrations.script import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run("0004_audit.sql")
