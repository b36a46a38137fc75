"""SHELL: a thread that works beside the traffic until the engine ends.

It rests by waiting for the stop, so a stop never waits for a rest.
"""

import threading
from abc import ABC, abstractmethod


class Worker(ABC):
    """Begins once and ends once; what it does is ``_run`` of the class that is one.

    ``_run`` returns soon after ``_stop`` is set, with everything kept that the next start needs.
    """

    def __init__(self, name: str) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Ask it to end and wait until it has; fine before a start, and again."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """Work until ``_stop`` is set."""
