"""The one query that hands out sealed bytes. Only `operalta.vault.opening` may import it."""
