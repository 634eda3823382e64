"""The rows of sealed secrets: written and replaced here, never opened."""
