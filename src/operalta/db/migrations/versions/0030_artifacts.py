"""See `0030_artifacts.sql`."""

from operalta.db.migrations.script import run

revision = "0030"
down_revision = "0029"


def upgrade() -> None:
    run("0030_artifacts.sql")
