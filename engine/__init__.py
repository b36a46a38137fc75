"""The switch: bytes in, decision, bytes out."""
