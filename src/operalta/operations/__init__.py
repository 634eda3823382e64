"""Running the deployment: leaving root, embedded servers, the supervisor of `up`, health.

What lives here starts and watches processes. It knows no HTTP framework and holds no business rule.
"""
