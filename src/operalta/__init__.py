"""Operalta: a self-hosted workspace for a company's people and its AI agents.

The rooms stand on floors; a room may import only from floors below it (see `pyproject.toml`,
`tool.importlinter`). `app.py` and `worker.py` are the only places where rooms are wired together.
"""

__version__ = "0.1.0"
