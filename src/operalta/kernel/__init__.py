"""What every room may use: identifiers, the clock, who acts, refusals, inventory entries, logging.

Pure but for the log's output and the reading of the clock. No driver, no HTTP client, no framework.
"""
