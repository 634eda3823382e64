"""See `0026_agents_and_versions.sql`."""

from operalta.db.migrations.script import run

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    run("0026_agents_and_versions.sql")
