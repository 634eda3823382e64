"""Lets `python -m operalta` do what the `operalta` command does."""

from operalta.cli import main

main()
