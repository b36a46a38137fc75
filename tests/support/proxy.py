"""A proxy between a store and its database: answers late, twice or never, and cuts in between.

It listens on a Unix socket named like PostgreSQL's, in a folder of its own, and forwards bytes both
ways. A fault is met once, by the next answer or request of the connection that appends.
"""

import contextlib
import select
import socket
import threading
from enum import Enum
from pathlib import Path
from typing import Self

_SOCKET = ".s.PGSQL.5432"
_PIECE = 1 << 16
_APPEND = b"INSERT INTO de39.batch"  # in the statement that is prepared


class Fault(Enum):
    """What happens to the next bytes."""

    NONE = "forwarded"
    LATE = "the answer is held until ``release``"
    NEVER = "this and every later answer is dropped, new connections get none"
    TWICE = "the answer comes twice"
    CUT_ANSWER = "the request arrives, the connection ends before the answer"
    CUT_REQUEST = "the connection ends before the request arrives"


class Proxy:
    """Stands in ``folder`` for the server whose sockets are in ``sockets``."""

    def __init__(self, folder: Path, sockets: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.met_count = 0
        self._target = str(sockets / _SOCKET)
        self._fault = Fault.NONE
        self._released = threading.Event()
        self._is_closed = False
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / _SOCKET))
        self._listener.listen(16)
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._is_closed = True
        self._released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)
        (self.folder / _SOCKET).unlink()

    def arm(self, fault: Fault) -> None:
        """Let ``fault`` be met next."""
        self._released.clear()
        self._fault = fault

    def release(self) -> None:
        """Let held bytes go, and mend what ``NEVER`` does."""
        self._fault = Fault.NONE
        self._released.set()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(self._target)
            appends = False
            while not self._is_closed:
                readable, _, _ = select.select([client, server], [], [], 0.05)
                for source in readable:
                    data = source.recv(_PIECE)
                    appends |= source is client and _APPEND in data
                    fault = self._fault if appends or self._fault is Fault.NEVER else Fault.NONE
                    pair = (client, server) if source is server else (server, client)
                    if not data or not self._forward(data, fault, source is server, pair[0]):
                        return

    def _forward(self, data: bytes, fault: Fault, is_answer: bool, to: socket.socket) -> bool:
        """Forward ``data``, or do what is armed; False ends the connection."""
        if fault is (Fault.CUT_ANSWER if is_answer else Fault.CUT_REQUEST):
            self._meet()
            return False
        if is_answer and fault is Fault.NEVER:
            self.met_count += 1
            return True
        if is_answer and fault is Fault.LATE:
            self._meet()
            self._released.wait(60)
        if is_answer and fault is Fault.TWICE:
            self._meet()
            to.sendall(data)
        to.sendall(data)
        return True

    def _meet(self) -> None:
        self.met_count += 1
        self._fault = Fault.NONE
