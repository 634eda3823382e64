"""See `0006_delivery.sql`."""

from operalta.db.migrations.script import run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run("0006_delivery.sql")
