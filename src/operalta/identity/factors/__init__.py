"""Second factors: codes by SMS, authenticator apps, passkeys, recovery codes.

`proving` is how somebody on the way in, or in a session, proves one; `passkeys` the same for passkeys, also without a
password; `enrolment` adds and removes them; `store` has the SQL and `rules` what is pure. A bearer (`rules.Bearer`) is
what carries somebody through: a ticket after the right password, or a live session.
"""
