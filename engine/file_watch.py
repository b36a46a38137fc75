"""Whether a file has changed and stands still since: what is being written is not read yet."""

Stamp = tuple[int, int, int]  # time of the last change, ns, size and inode; zeros = not there


class FileWatch:
    """Looks at the stamps of one file. ``stamp`` is that of the file as it was read last.

    A copy that is under way may end between two rules and still be a rule set, of half the rules.
    So a change counts at the second look that finds the same stamp.
    """

    def __init__(self, stamp: Stamp) -> None:
        self._taken = self._last = stamp

    def look(self, stamp: Stamp) -> bool:
        """Return whether the file should be read now."""
        is_still, self._last = stamp == self._last, stamp
        if not is_still or stamp == self._taken:
            return False
        self._taken = stamp
        return True
