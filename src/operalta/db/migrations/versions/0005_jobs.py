"""The queue's tables as procrastinate ships them, in a schema of their own, then `0005_jobs.sql`."""

from procrastinate.schema import SchemaManager

from operalta.db.migrations.script import run, run_text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_text("SET LOCAL search_path = jobs")
    run_text(SchemaManager.get_schema())
    run_text("SET LOCAL search_path = public")
    run("0005_jobs.sql")
