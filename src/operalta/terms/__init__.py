"""The clauses of the security terms in our own wording, and the registry that ties code to them."""
