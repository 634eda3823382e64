"""What people may ask about their data, and where it goes. Who may see a row is decided in the database, never here."""
