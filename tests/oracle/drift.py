"""Bins of a column by counting edges below each value."""


def bin_counts(values: list[float], edges: list[float]) -> list[int]:
    """Return how many values fall in each bin: a value lies above every edge below it."""
    counts = [0] * (len(edges) + 1)
    for value in values:
        counts[sum(value > edge for edge in edges)] += 1
    return counts
