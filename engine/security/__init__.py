"""Cryptography on the wire: MAC, PIN, CVV, chip cryptograms, and the keys they need."""
