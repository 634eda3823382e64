"""The db room."""
