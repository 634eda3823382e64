"""SMS through a provider's HTTP API: one file for the wire format of each, and what is the same for all."""
