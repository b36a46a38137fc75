"""Double-entry books in SQL: a projection of the journal, exactly once by record number."""
