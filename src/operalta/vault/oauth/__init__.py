"""Connections to accounts at other services: OAuth 2.1 as its client (RFC 6749, 7009, 7636, 8414, 9207).

Tokens lie sealed in `credentials.secrets`; the tables of this room hold their ids alone.
"""
