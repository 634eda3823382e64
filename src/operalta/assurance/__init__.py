"""What can be observed of the clauses, and what is shown of it.

What lives here: the throw-away deployment with stand-ins for what lies outside (`deployment`, `stage`, `mailbox`,
`carrier`, `elsewhere`), the probes by what they look at (`probes`), running and signing them (`verify`, `registry`,
`rules`), and the facts of the trust page (`facts`).

What may not live here: a control. A probe looks from outside, and whatever it needs to look at exists for other
reasons. Saboteurs, which prove the probes, are tests and are not shipped.
"""
