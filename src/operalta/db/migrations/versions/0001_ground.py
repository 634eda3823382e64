"""See `0001_ground.sql`."""

from operalta.db.migrations.script import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    run("0001_ground.sql")
