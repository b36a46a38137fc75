"""A thread's place before others in the queue for a processor."""

import os
import threading
from contextlib import suppress

_NICE = -10  # where no real-time turn is allowed


def raise_priority(level: int = 2) -> None:
    """Ask for a place before other threads for this one; without the right to, go on as before.

    A sync whose end waits for a scheduler slice takes 4 ms, not 0.2, and where each login has its
    own share of the processor, niceness does not help. So a real-time turn: the thread needs the
    processor for some microseconds a batch. Threads that it starts are ordinary ones.

    Parameters
    ----------
    level
        From 1; the higher goes first.
    """
    policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(level))
    except OSError:
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
