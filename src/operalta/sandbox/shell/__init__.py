"""Commands in a sandbox: bubblewrap's namespaces, Landlock and a system call filter within, caps from outside.

`runner.CommandRunner` runs them; `self_test` decides whether there is a shell at all; `state` carries that verdict
to the processes that only show it.
"""
