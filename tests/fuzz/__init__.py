"""Fuzzing of the codec: seeded in the suite, guided by coverage on demand."""
