"""See `0027_schedules.sql`."""

from operalta.db.migrations.script import run

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    run("0027_schedules.sql")
