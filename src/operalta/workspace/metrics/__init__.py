"""Metrics: what is measured, its points, and what can be worked out from them."""
