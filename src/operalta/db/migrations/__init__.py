"""Migrations, written as SQL. Each makes a table together with its policies."""
