"""The way to the database: pools of each role, scopes that it signs, migrations, and the check of its policies.

What lives here: `pools`, `scope` (every query of a company's data goes through one), `permission`, the listed
elevated functions (`elevated`, `elevated_flows`), `migrations`, and `policy_check` with what it compares the
catalogue against (`declared_grants`, `policy_*`).

What may not live here: the SQL of a room, which is in its `store.py`; who may do what (`access`).
"""
