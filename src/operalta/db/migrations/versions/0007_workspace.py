"""See `0007_workspace.sql`."""

from operalta.db.migrations.script import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run("0007_workspace.sql")
