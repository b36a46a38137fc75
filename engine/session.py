"""One link as the pipeline sees it: bytes that wait, and where the session stands. No socket here.

A link starts signed off; a reconnect is a new link. What is kept is bounded: once
``LINK_PENDING_BYTES_MAX`` bytes wait, ``is_full`` tells the shell to stop reading. Bytes keep the
time at which they came, and what is taken together came within ``ARRIVAL_SPREAD_NS``: one time of
arrival is then true for all of it.
"""

from collections import deque
from typing import Protocol

from engine.limits import LINK_PENDING_BYTES_MAX

ARRIVAL_SPREAD_NS = 50_000_000  # of the bytes of one segment; a deadline is a second or so


class Peer(Protocol):
    """The shell's side of a link."""

    def send(self, data: bytes) -> bool:
        """Take an answer; False when the peer has gone."""
        ...

    def close(self, reason: str) -> None:
        """Close after what was sent."""
        ...

    def pause(self) -> None:
        """Stop reading."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def answered(self, mti: int, stan: int, message: bytes) -> bool:
        """Take an answer that came in; False when nothing was asked like it."""
        ...


class Link:
    """State of one connection. ``dialect`` is a row of the dialect table."""

    __slots__ = (
        "batches_due",
        "chunks",
        "dialect",
        "has_ended",
        "has_part",
        "is_closing",
        "is_paused",
        "is_ready",
        "keepalives",
        "last_ns",
        "number",
        "peer",
        "pending_bytes",
        "profile",
        "signed_on",
        "times",
        "unreadable",
    )

    def __init__(self, number: int, peer: Peer, dialect: int, profile: "Profile") -> None:
        self.number = number
        self.peer = peer
        self.dialect = dialect
        self.profile = profile
        self.chunks: deque[bytes] = deque()
        self.times: deque[int] = deque()  # when each chunk came, engine clock
        self.pending_bytes = 0
        self.last_ns = 0  # engine clock of the last bytes
        self.has_part = False  # part of a frame waits for its rest
        self.is_ready = False  # waits for a batch
        self.batches_due = 0  # whose answers to this link have not left yet
        self.has_ended = False  # the peer sends no more
        self.is_paused = False
        self.is_closing = False
        self.signed_on = 0
        self.unreadable = 0  # messages in a row that could not be answered
        self.keepalives = 0  # empty frames in a row

    @property
    def is_full(self) -> bool:
        """Whether the shell must stop reading."""
        return self.pending_bytes > LINK_PENDING_BYTES_MAX

    def put(self, data: bytes, now_ns: int) -> None:
        """Take bytes as they came."""
        self.chunks.append(data)
        self.times.append(now_ns)
        self.pending_bytes += len(data)
        self.last_ns = now_ns

    def take(self, room: int) -> tuple[bytes, int]:
        """Return up to ``room`` bytes that wait, in order, and when they came; forget them.

        Fewer are returned when they came at different times: the rest is for the next batch.
        """
        times = self.times
        first_ns = times[0] or (times[1] if len(times) > 1 else self.last_ns)
        if self.pending_bytes <= room and times[-1] - first_ns <= ARRIVAL_SPREAD_NS:
            data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
            arrival_ns = times[-1] or self.last_ns
            self.chunks.clear()
            times.clear()
            self.pending_bytes = 0
            return data, arrival_ns
        parts: list[bytes] = []
        arrival_ns = first_ns
        while room > 0 and self.chunks and times[0] - first_ns <= ARRIVAL_SPREAD_NS:
            chunk, time_ns = self.chunks.popleft(), times.popleft()
            arrival_ns = time_ns or arrival_ns
            parts.append(chunk[:room])
            if len(chunk) > room:
                self.chunks.appendleft(chunk[room:])
                times.appendleft(time_ns)
            room -= len(parts[-1])
        data = b"".join(parts)
        self.pending_bytes -= len(data)
        return data, arrival_ns

    def put_back(self, rest: bytes, arrival_ns: int) -> None:
        """Return bytes that were taken and not used: they come first again.

        ``arrival_ns`` of whole frames is the one they were taken with; 0 for the beginning of a
        frame, which arrives with the bytes after it.
        """
        if rest:
            self.chunks.appendleft(rest)
            self.times.appendleft(arrival_ns)
            self.pending_bytes += len(rest)


class Profile:
    """What a listener demands of its links."""

    __slots__ = (
        "answer_timeout_ns",
        "deadline_ns",
        "echo_zero_length",
        "frame_timeout_ns",
        "idle_echo_ns",
        "idle_timeout_ns",
        "late_is_silent",
        "overload_ns",
        "security",
        "sign_off",
        "sign_on_required",
        "unreadable_max",
        "zero_length_max",
    )

    def __init__(
        self,
        *,
        sign_on_required: bool = False,
        idle_timeout_s: int = 0,
        frame_timeout_s: int = 30,
        zero_length_max: int = 1000,
        echo_zero_length: bool = False,
        unreadable_max: int = 10,
        deadline_ms: int = 0,
        overload_ms: int = 0,
        late_is_silent: bool = False,
        security: int = 0,
        idle_echo_s: int = 0,
        answer_timeout_s: int = 10,
        sign_off: bool = False,
    ) -> None:
        self.sign_on_required = sign_on_required
        self.idle_timeout_ns = idle_timeout_s * 1_000_000_000
        self.frame_timeout_ns = frame_timeout_s * 1_000_000_000
        self.zero_length_max = zero_length_max
        self.echo_zero_length = echo_zero_length
        self.unreadable_max = unreadable_max
        self.deadline_ns = deadline_ms * 1_000_000
        self.overload_ns = overload_ms * 1_000_000
        self.late_is_silent = late_is_silent
        self.security = security
        self.idle_echo_ns = idle_echo_s * 1_000_000_000
        self.answer_timeout_ns = answer_timeout_s * 1_000_000_000
        self.sign_off = sign_off
