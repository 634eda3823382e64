"""See `0025_model_routes.sql`."""

from operalta.db.migrations.script import run

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    run("0025_model_routes.sql")
