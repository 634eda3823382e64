"""People: their accounts, passwords, sessions and the tokens that carry them.

What lives here: everything that happens before a scope is open (`accounts`, `sessions`, through the sign-in role
and its narrow functions), what a person sees of their own account (`own_account`), password hashing (`passwords`),
access tokens and derived secrets (`tokens`), and the shape of addresses and names (`rules`).

What may not live here: what a person may do in a company (`tenancy` and `access`), cookies and routes (`web`),
mail texts (`delivery`). Only this room is handed the sign-in role's pool.
"""
