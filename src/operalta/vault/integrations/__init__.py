"""Integrations: other services that agents use, switched on by people, with credentials that agents never see."""
