"""The index as a plain list: what ``ledger.index`` has to agree with."""


class ListIndex:
    """Entries in the order they came; everything by looking at all of them."""

    def __init__(self, entries_max: int) -> None:
        self.entries_max = entries_max
        self.entries: list[tuple[int, int, int]] = []

    def find(self, hash_: int, check: int) -> int:
        """Return the row of the oldest entry of that key, or -1."""
        for entry in self.entries:
            if entry[:2] == (hash_, check):
                return entry[2]
        return -1

    def insert(self, hash_: int, check: int, row: int) -> bool:
        """Append, unless full."""
        if len(self.entries) >= self.entries_max:
            return False
        self.entries.append((hash_, check, row))
        return True

    def remove(self, hash_: int, check: int, row: int) -> bool:
        """Remove the one entry that is equal in all three."""
        if (hash_, check, row) not in self.entries:
            return False
        self.entries.remove((hash_, check, row))
        return True
