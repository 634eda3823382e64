"""Documents become plain text: `rules` tells kinds apart, `service` has one read, `program` is what reads it.

Nothing here but `program` touches what is inside a document, and that runs in the sandbox alone.
"""
