"""See `0003_tenancy.sql`."""

from operalta.db.migrations.script import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run("0003_tenancy.sql")
