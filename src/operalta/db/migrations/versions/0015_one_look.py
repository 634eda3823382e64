"""See `0015_one_look.sql`."""

from operalta.db.migrations.script import run

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run("0015_one_look.sql")
