"""Mail and SMS: their texts, and the ways out, through a relay and a provider or into the operator's outbox.

What lives here: messages as ids that wait (`store`, `rules`), the sender that makes their tokens at the last moment,
the ways (`channels`, `relay`, `sms`, `outbox`), and the texts with their templates.

What may not live here: who is to be told what, which the room says that defers a message; the content of a token.
"""
