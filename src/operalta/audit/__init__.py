"""The tamper-evident log: events commit with their transaction, and the sealer puts them into one tree (RFC 9162).

What lives here: recording and listing (`service`, `queries`), the tree and its proofs (`tree`, `canonical`), the
sealer, signed heads that leave the database (`heads`), and checking it all (`verification`, `deployment_check`).

What may not live here: what an event means to the room that records it, and any way to change one.
"""
