"""Webhooks that go out: thin, signed events to addresses of the company's own. What comes in is in `inbound`."""
