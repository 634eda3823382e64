"""See `0028_approvals.sql`."""

from operalta.db.migrations.script import run

revision = "0028"
down_revision = "0027"


def upgrade() -> None:
    run("0028_approvals.sql")
