"""An iterator run ahead of its consumer by a thread of its own.

Reading and hashing a journal release the interpreter's lock, and so do the kernels that fold it:
one thread each, and a start uses two cores. Items cross in lists, so that a journal of very small
batches does not pay for a hand-over each.
"""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_LISTS_MAX = 4  # finished lists that may wait: bounds the memory


def read_ahead(source: Iterable[T], list_items: int = 16) -> Iterator[T]:
    """Yield what ``source`` yields, in order; it runs in a thread until this ends or is closed.

    What ``source`` raises is raised here after the items before it.
    """
    lists: queue.Queue[list[T] | BaseException | None] = queue.Queue(_LISTS_MAX)
    stop = threading.Event()

    def run() -> None:
        held: list[T] = []
        last: BaseException | None = None
        try:
            for item in source:
                held.append(item)
                if stop.is_set():
                    return
                if len(held) >= list_items:
                    lists.put(held)
                    held = []
        except BaseException as error:  # raised again where the items are taken
            last = error
        lists.put(held)
        lists.put(last)

    thread = threading.Thread(target=run, name="read-ahead", daemon=True)
    thread.start()
    try:
        while isinstance(found := lists.get(), list):
            yield from found
        if found is not None:
            raise found
    finally:
        stop.set()
        while thread.is_alive():  # it may wait to hand over a list
            while not lists.empty():
                lists.get()
            thread.join(0.01)
