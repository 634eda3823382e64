"""The queue in PostgreSQL: deferring, the worker that carries out, rescue and maintenance.

Jobs carry ids, never content. What a task does is handed down when the worker is wired; no room is known here.
"""
