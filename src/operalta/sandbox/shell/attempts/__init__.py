"""A program that tries to get out of the sandbox it runs in: for the self-test at start, and for the tests.

It imports the standard library and itself alone.
"""
