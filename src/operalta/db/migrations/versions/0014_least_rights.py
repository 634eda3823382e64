"""See `0014_least_rights.sql`."""

from operalta.db.migrations.script import run

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run("0014_least_rights.sql")
