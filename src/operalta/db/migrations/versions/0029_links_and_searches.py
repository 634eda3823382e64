"""See `0029_links_and_searches.sql`."""

from operalta.db.migrations.script import run

revision = "0029"
down_revision = "0028"


def upgrade() -> None:
    run("0029_links_and_searches.sql")
