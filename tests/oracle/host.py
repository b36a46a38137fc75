"""A plain host for load tests: answers in pure Python, and misbehaves when told to."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from typing import Self

import iso8583
from iso8583.specs import default

Answers = Callable[[int, dict[str, str]], list[dict[str, str]] | list[bytes]]

_ECHOED = ("2", "3", "4", "7", "11", "12", "13", "32", "37", "41", "42", "49", "90")


def reply_to(request: dict[str, str], code: str = "00") -> dict[str, str]:
    """The right answer: function digit + 1, repeat digit cleared, fields echoed."""
    reply = {name: request[name] for name in _ECHOED if name in request}
    reply["t"] = request["t"][:2] + str(int(request["t"][2]) + 1) + "0"
    reply["39"] = code
    if code == "00":
        reply["38"] = request["37"][-6:]
    return reply


class Host:
    """Serve on a free port; ``answers(n, request)`` gives the replies to the n-th request (from 0).

    A reply is fields, or bytes that go out as they are.

    ``stall_at`` and ``stall_s``: before the answer to that request, do nothing for a while.
    ``close_after``: close every connection after so many answers. ``cross``: send each answer on
    the connection of the request before it.
    """

    def __init__(
        self,
        answers: Answers = lambda _, request: [reply_to(request)],
        *,
        stall_at: int = -1,
        stall_s: float = 0.0,
        close_after: int = -1,
        cross: bool = False,
    ) -> None:
        self._answers = answers
        self._stall_at, self._stall_s = stall_at, stall_s
        self._close_after, self._cross = close_after, cross
        self.requests: list[dict[str, str]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._listener.getsockname()
        self._lock = threading.Lock()
        self._links: list[socket.socket] = []
        self._last: socket.socket | None = None
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._hang_up()
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = self._listener.accept()
                self._links.append(link)
                thread = threading.Thread(target=self._serve, args=(link,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _hang_up(self) -> None:
        for link in self._links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _serve(self, link: socket.socket) -> None:
        with link, link.makefile("rb") as stream, contextlib.suppress(OSError, ValueError):
            while len(head := stream.read(2)) == 2:
                request, _ = iso8583.decode(stream.read(int.from_bytes(head, "big")), default)
                with self._lock:
                    self._answer(link, request)

    def _answer(self, link: socket.socket, request: dict[str, str]) -> None:
        count = len(self.requests)
        self.requests.append(request)
        if count == self._close_after:
            self._hang_up()
            return
        if count == self._stall_at:
            time.sleep(self._stall_s)  # the fault under test, not a wait for something
        target, self._last = (self._last or link if self._cross else link), link
        for reply in self._answers(count, request):
            if isinstance(reply, bytes):
                target.sendall(reply)
                continue
            data = bytes(iso8583.encode(dict(reply), default)[0])
            target.sendall(len(data).to_bytes(2, "big") + data)
