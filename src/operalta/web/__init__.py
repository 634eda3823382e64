"""All HTTP: pages under `pages/` (one file a page), JSON under `api/` (one file a resource), and what guards both.

A route declares who may call it and under which limit (`entry.py`), parses, calls one service function and
renders. No rule of the product lives here, and no SQL.
"""
