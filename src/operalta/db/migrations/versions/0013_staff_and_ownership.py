"""See `0013_staff_and_ownership.sql`."""

from operalta.db.migrations.script import run

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run("0013_staff_and_ownership.sql")
