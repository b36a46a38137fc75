"""How many examples a property gets.

``DE39_EXAMPLES=10`` gives each property ten times as many, for a long run. Where every access of an
array is checked the suite has run already with all of them: there a quarter has to do.
"""

import os

_LEAST = 5
_FACTOR = float(
    os.environ.get("DE39_EXAMPLES") or (0.25 if os.environ.get("NUMBA_BOUNDSCHECK") == "1" else 1)
)


def examples(count: int) -> int:
    """Return how many examples to try where ``count`` is usual."""
    return max(min(count, _LEAST), round(count * _FACTOR))
