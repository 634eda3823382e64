"""What looks like a secret in the history and is none: digests of the texts, each with the reason, after a review."""

REVIEWED: dict[str, str] = {}
