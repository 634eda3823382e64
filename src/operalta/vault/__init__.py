"""Credentials: API keys, sealed secrets, connections to other services, integrations.

What a key or a token opens is never shown again once it is kept: it is stored as a digest, or sealed, and opened by one
module for the callers that it names.
"""
