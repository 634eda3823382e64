"""Files: rows under row security, bytes below one folder for each company, passages for search and citations."""
