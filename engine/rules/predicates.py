"""One comparison of the normal form."""

from dataclasses import dataclass, replace

from engine.rules.tree import Operator


@dataclass(frozen=True, slots=True)
class Predicate:
    """One comparison; equal ones are one predicate. ``column`` is an index.

    ``other`` is the column that it is compared with, -1 = a constant. ``ttl_s`` is how long an
    entry of the list counts, 0 = as long as it says itself.
    """

    column: int
    operator: Operator
    constant: float = 0.0
    list_name: str = ""
    values: tuple[float, ...] = ()
    other: int = -1
    ttl_s: int = 0

    def with_columns(self, column: int, other: int) -> "Predicate":
        """Return the same comparison of other columns."""
        return replace(self, column=column, other=other)
