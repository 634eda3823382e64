"""The sealing room."""
