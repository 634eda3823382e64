"""See `0017_documents.sql`."""

from operalta.db.migrations.script import run

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run("0017_documents.sql")
