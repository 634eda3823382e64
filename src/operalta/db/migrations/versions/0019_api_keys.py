"""See `0019_api_keys.sql`."""

from operalta.db.migrations.script import run

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run("0019_api_keys.sql")
