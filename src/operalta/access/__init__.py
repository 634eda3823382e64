"""Who may do what: permissions, the role templates of each kind of company, and the decision.

Pure: no database, no HTTP. The database holds a generated copy of the table (see `rules.table()`), and a
test holds the two together.
"""
