"""Rate limits that fail closed, and the one comparison of secrets.

A route names one of the rules in `rules.py` and who is calling; `Limiter.admit` decides over all dimensions
of that rule in one script on the store, so that all processes share one count. The store sees keyed digests
of identities only. What compares a secret anywhere in the product does so through `comparison.py`.
"""
