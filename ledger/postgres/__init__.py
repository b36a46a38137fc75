"""PostgreSQL as a place for the ledger: a small server of our own, connections, settings."""
