"""ISO 8583 framing, dialects and the batch codec."""
