"""Conversations of people with agents: private to one person unless they are opened to the company."""
