"""Runs a migration's SQL text as it stands, on the connection that Alembic has open."""

from pathlib import Path

from alembic import op


def run(name: str) -> None:
    """Run the SQL file `name` that lies beside the migrations."""
    run_text((Path(__file__).parent / "versions" / name).read_text("utf-8"))


def run_text(text: str) -> None:
    """Run SQL text of several statements, without parameters: `%` in it means itself."""
    driver = op.get_bind().connection.driver_connection
    if driver is None:
        raise RuntimeError("the migration has no connection")
    driver.cursor().execute(text)
