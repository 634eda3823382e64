"""The delivery room: mail with its texts, through a relay or, in the embedded default, into the operator's outbox."""
