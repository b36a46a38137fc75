"""Slow, plain twins of the kernels, written from the text and not from the kernels."""
