"""The audit room: the tamper-evident log. Events commit with their transaction; the sealer puts them into one tree."""
