"""Proof that a record stands in the ledger: trees over batches, signed checkpoints, receipts."""
