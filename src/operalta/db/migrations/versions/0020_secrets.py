"""See `0020_secrets.sql`."""

from operalta.db.migrations.script import run

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run("0020_secrets.sql")
