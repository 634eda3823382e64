"""The delivery room: mail and SMS with their texts, through a relay and a provider, or into the operator's outbox."""
