"""Keys and what they seal.

The root key, which the operator keeps, wraps one key for each company; from it comes a key of its own for
every sealed value, so that a value opens in its own place only. The same root key wraps the signing keys of
access tokens, audit heads and evidence. Wrapped keys are files outside the database: dropping a company's
key ends its secrets for good.
"""
