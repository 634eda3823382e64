"""Routes to models of others: what the operator's file says, and how providers are spoken to."""
