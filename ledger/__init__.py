"""What happened, in order, durably: records, journal, stores, recovery."""
