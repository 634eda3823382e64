"""Webhooks that come in: signed messages to addresses that nobody can guess, kept as untrusted ones."""
