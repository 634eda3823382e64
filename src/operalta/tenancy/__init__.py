"""Companies, who is a member of them with which role, and invitations.

What lives here: founding a company, reading it and its members, inviting, accepting, changing roles, removing,
leaving, handing over (`service`, `invitations`), visits of the operator's staff (`staff`), with names, slugs and shapes
in `rules`.

What may not live here: what a role may do (`access.rules` holds the templates), accounts and sessions
(`identity`), the mail itself (`delivery`; an invitation is handed over by its id), a company's data (`workspace`).
"""
