"""See `0002_identity.sql`."""

from operalta.db.migrations.script import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run("0002_identity.sql")
