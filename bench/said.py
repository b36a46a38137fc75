"""What a long command says of itself on stderr while it works."""

import sys
import time


def say(text: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"de39: {text}\n")
    sys.stderr.flush()


class Progress:
    """Says how far the work is, once a second and at the end of each part."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Note that ``done`` of ``total`` of ``what`` are done."""
        now_s = time.monotonic()
        if done == total or now_s - self._last_s >= 1.0:
            self._last_s = now_s
            say(f"{what}: {done:,} of {total:,}")
