"""Where agents meet the machine: a company's files, commands, documents, the way out to the network.

What lives here: the workspace on disk, resolved by the kernel (`files`, `usage`, `openat2`, with the pure
rules for names in `rules`); the one door for every outgoing request (`egress`, `transport`, `exchange`,
`dialling`, with the pure rules in `policies`, `destinations` and `addresses`); commands in a sandbox that
has proved itself (`shell`), and what reads documents in one (`reading`).

What may not live here: SQL (the egress log is handed down as a callable), permissions (`access` decides who
may act), prompts and tools (`agents`). No other room opens a company's files by path or makes an HTTP call.
"""
