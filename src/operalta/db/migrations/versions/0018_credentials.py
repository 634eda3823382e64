"""See `0018_credentials.sql`."""

from operalta.db.migrations.script import run

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run("0018_credentials.sql")
