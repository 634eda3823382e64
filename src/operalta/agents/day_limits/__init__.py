"""What the agents of a company may use in one day, all together: who said so, what was used today, and what is left."""
