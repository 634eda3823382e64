"""The clauses of the security terms in our own wording, and the registry that ties code to them.

`@upholds` registers and does nothing more. Nothing here knows what a clause is upheld by.
"""
