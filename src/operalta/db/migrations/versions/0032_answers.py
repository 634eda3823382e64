"""See `0032_answers.sql`."""

from operalta.db.migrations.script import run

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    run("0032_answers.sql")
