"""See `0009_second_factors.sql`."""

from operalta.db.migrations.script import run

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run("0009_second_factors.sql")
