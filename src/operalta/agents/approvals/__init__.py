"""Approvals: questions to people about single calls, and the standing grants that may come with an answer."""
