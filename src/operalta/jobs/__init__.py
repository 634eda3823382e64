"""The jobs room: the queue in PostgreSQL, its worker, and its maintenance. Jobs carry ids, never content."""
