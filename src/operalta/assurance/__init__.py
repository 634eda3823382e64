"""The assurance room."""
