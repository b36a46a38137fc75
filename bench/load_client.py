"""The load generator: raw sockets, one thread, kernels for all work on messages.

A run sends payments (0100), and if asked repeats (0101) and reversals (0420), at a constant rate
(open loop) or with a fixed number in flight (closed loop), and checks that every message is
answered once, on its connection, with its STAN. Open-loop latency counts from the time a message
was due, not from when it went out, so a server that stalls is charged for all that it held up.
"""

import contextlib
import select
import selectors
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.frames import MAX_NUMBER, templates
from bench.load_kernels import fill
from bench.load_result import LoadResult, Snapshot, summarize
from bench.load_state import CODES, CONNECTION, RUN, SCENARIOS, SLOT, new_counts
from bench.reply_kernels import reply_widths, take

_BUFFER_BYTES = 8 << 20  # shared by the connections, for each direction
_CLOSED_LOOP_RATE = 4_000_000  # payments a second that a closed-loop run has room for,
_CLOSED_LOOP_MOST = 64_000_000  # and in all; it ends early when it has sent so many
_OPEN_LOOP_MOST = 250_000_000
_LATE_US = 1_000
_MOST_CONNECTIONS = 65_535
_BROKEN_DRAIN_S = 1.0


class TargetError(Exception):
    """The server cannot be reached: one line that names it and says why."""


class Source(NamedTuple):
    """Payments to send, in order, round and round, with their truth.

    ``orders``: ORDER rows (``Traffic.orders``), at least one. ``simulated_clock``: DE7 is the
    payment's own time; else the time at which the message is due.
    """

    orders: NDArray[Any]
    simulated_clock: bool = False


class Plan(NamedTuple):
    """How a run sends: ``rate`` in messages/s (open loop) or ``in_flight`` payments a connection.

    ``seconds`` are measured after ``warmup_s``; ``drain_s`` is the wait for the last answers.
    ``payments`` ends the run early after that many. ``first_number`` is DE37 of the first payment:
    runs against one ledger take ranges that do not overlap.
    """

    rate: float = 0.0
    in_flight: int = 0
    connections: int = 1
    seconds: float = 10.0
    warmup_s: float = 0.0
    drain_s: float = 5.0
    dialect: str = "iso87-bin"
    repeat_share: float = 0.0
    reversal_share: float = 0.0
    seed: int = 1
    first_number: int = 1
    payments: int = 0


class LoadRun:
    """One run against ``target`` (host, port); ``run`` does it, ``snapshot`` looks at it.

    ``slots`` (SLOT rows, payment k at row k) is the outcome of every payment, ``orders`` (row k
    modulo its length) what was asked. Raises ValueError for a plan that cannot be.
    """

    def __init__(self, target: tuple[str, int], source: Source, plan: Plan) -> None:
        _check(source, plan)
        self.target = target
        self.plan = plan
        self.orders = np.ascontiguousarray(source.orders).copy()
        self.state = _start_state(source, plan)
        self.slots = np.zeros(int(self.state[0]["capacity"]), dtype=SLOT)
        self.links = np.zeros(plan.connections, dtype=CONNECTION)
        self.codes = np.zeros(CODES, dtype=np.int64)
        self.truth = np.zeros((SCENARIOS, 2), dtype=np.int64)
        self.latency = new_counts()
        size = min(max(_BUFFER_BYTES // plan.connections, 16_384), 1 << 20)
        self._out = np.zeros((plan.connections, size), dtype=np.uint8)
        self._in = np.zeros((plan.connections, size), dtype=np.uint8)
        self._out_views = [row.data for row in self._out]
        self._in_views = [row.data for row in self._in]
        self._frames = templates(plan.dialect)
        self._widths = reply_widths(plan.dialect)
        self._sockets: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._waiting: set[int] = set()  # connections whose kernel buffer is full
        self._open = 0
        self._started_ns = 0
        self._stopped_us = -1
        self._broken = ""
        self._interrupted = False
        self._mark = Snapshot.empty(self.latency)

    def run(
        self, progress: Callable[[Snapshot], None] | None = None, every_s: float = 1.0
    ) -> LoadResult:
        """Connect, send, take the answers, close; call ``progress`` every ``every_s`` seconds.

        A connection that breaks ends the run: the result holds what was answered until then and
        says so in ``broken``. An interrupt (Ctrl-C) ends sending and drains. Raises TargetError
        when the server cannot be reached.
        """
        self._warm()
        try:
            self._connect()
            self._started_ns = time.monotonic_ns()
            if self.state[0]["wall_s"] >= 0:
                self.state[0]["wall_s"] = int(time.time())
            with self._interruptible():
                self._loop(progress, every_s)
        finally:
            self._close()
        return self.result()

    def stop(self) -> None:
        """End sending; ``run`` drains and returns. May be called from ``progress``."""
        self._stop()

    def snapshot(self) -> Snapshot:
        """Return the state of the run now; rate and percentiles are since the last snapshot."""
        taken = Snapshot.take(self._now_us(), self.state[0], self.codes, self.truth, self.latency)
        fresh = taken.since(self._mark)
        self._mark = taken
        return fresh

    def result(self) -> LoadResult:
        """Return the outcome so far; ``run`` returns it at the end."""
        return summarize(
            self.plan,
            self.state[0],
            self.slots[: int(self.state[0]["next"])],
            self.orders,
            self.codes,
            self.truth,
            self.latency,
            stopped_us=self._stopped_us if self._stopped_us >= 0 else self._now_us(),
            broken=self._broken,
            interrupted=self._interrupted,
        )

    @contextlib.contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Let the first interrupt end sending; an exception in mid-read would lose bytes."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def interrupted(*_: object) -> None:
            if self._interrupted:
                raise KeyboardInterrupt
            self._interrupted = True
            self._stop()

        before = signal.signal(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _now_us(self) -> int:
        return (time.monotonic_ns() - self._started_ns) // 1000

    def _warm(self) -> None:
        """Compile the kernels before the clock starts, on empty state."""
        state = self.state.copy()
        state[0]["capacity"] = 0
        self._fill(state, 0)
        self._take(state, 0, np.zeros(0, dtype=np.int64))

    def _fill(self, state: NDArray[Any], now_us: int) -> None:
        fill(
            state,
            now_us,
            self.links,
            self.slots,
            self.orders,
            self._frames.bytes,
            self._frames.places,
            self._out,
        )

    def _take(self, state: NDArray[Any], now_us: int, ready: NDArray[np.int64]) -> None:
        take(
            state,
            now_us,
            ready,
            self.links,
            self.slots,
            self.orders,
            self._widths,
            self._in,
            self.codes,
            self.truth,
            self.latency,
        )

    def _connect(self) -> None:
        host, port = self.target
        for index in range(self.plan.connections):
            try:
                link = socket.create_connection((host, port), timeout=10)
            except OSError as error:
                raise TargetError(f"{host}:{port}: cannot connect: {_reason(error)}") from error
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.setblocking(False)  # noqa: FBT003
            self._sockets.append(link)
            self._selector.register(link, selectors.EVENT_READ, index)
        self._open = len(self._sockets)

    def _close(self) -> None:
        for link in self._sockets:
            link.close()
        self._selector.close()

    def _loop(self, progress: Callable[[Snapshot], None] | None, every_s: float) -> None:
        state = self.state[0]
        every_us = int(every_s * 1e6)
        next_report_us = (self._now_us() // every_us + 1) * every_us
        ends_us = int((self.plan.warmup_s + self.plan.seconds) * 1e6)
        while not self._finished():
            now_us = self._now_us()
            if self._stopped_us < 0:
                time_is_up = self.plan.in_flight > 0 and now_us >= ends_us
                if time_is_up or state["next"] >= state["capacity"]:
                    self._stop()
                else:
                    self._fill(self.state, now_us)
            self._send()
            self._receive(self._pause_s(state))
            if progress is not None and now_us >= next_report_us:
                next_report_us = (now_us // every_us + 1) * every_us
                progress(self.snapshot())

    def _stop(self) -> None:
        if self._stopped_us < 0:
            self._stopped_us = self._now_us()

    def _finished(self) -> bool:
        if self._open == 0:
            return True
        if self._stopped_us < 0:
            return False
        waited_s = (self._now_us() - self._stopped_us) / 1e6
        if self._broken:
            return waited_s > _BROKEN_DRAIN_S
        state = self.state[0]
        return bool(state["answered"] >= state["sent"]) or waited_s > self.plan.drain_s

    def _pause_s(self, state: Any) -> float:
        """Return how long nothing can be due: until the next payment, at most 50 ms."""
        if self._stopped_us < 0 and state["interval_us"] > 0:
            due_us = state["next"] * state["interval_us"]
            # A full send buffer may hold up what is due: its socket wakes us when it has room.
            least_s = 0.001 if self._waiting else 0.0
            return float(min(max((due_us - self._now_us()) / 1e6, least_s), 0.05))
        return 0.05

    def _send(self) -> None:
        links = self.links
        for index in np.flatnonzero(links["send_end"] > links["send_start"]):
            if index in self._waiting:
                continue
            link = links[index]
            view = self._out_views[index]
            try:
                link["send_start"] += self._sockets[index].send(
                    view[link["send_start"] : link["send_end"]]
                )
            except BlockingIOError:
                self._waiting.add(int(index))
                self._watch(int(index), selectors.EVENT_READ | selectors.EVENT_WRITE)
                continue
            except OSError as error:
                self._break(int(index), _reason(error))
                continue
            if link["send_start"] == link["send_end"]:
                link["send_start"] = link["send_end"] = 0

    def _watch(self, index: int, events: int) -> None:
        with contextlib.suppress(KeyError):  # closed meanwhile
            self._selector.modify(self._sockets[index], events, index)

    def _receive(self, pause_s: float) -> None:
        # A selector's own timeout has millisecond steps; select() on its descriptor has
        # microseconds, which a constant rate needs.
        if pause_s > 0:
            select.select([self._selector], [], [], pause_s)
        ready = []
        for key, events in self._selector.select(0):
            index = key.data
            if events & selectors.EVENT_WRITE:
                self._waiting.discard(index)
                self._watch(index, selectors.EVENT_READ)
            if events & selectors.EVENT_READ and self._read(index):
                ready.append(index)
        if ready:
            self._take(self.state, self._now_us(), np.array(ready, dtype=np.int64))
            for index in ready:
                if self.links[index]["broken"]:
                    self._break(index, "it sent a frame longer than any message")

    def _read(self, index: int) -> bool:
        end = int(self.links[index]["recv_end"])
        try:
            count = self._sockets[index].recv_into(self._in_views[index][end:])
        except BlockingIOError:
            return False
        except OSError as error:
            self._drop(index, _reason(error))
            return False
        if count == 0:
            self._drop(index, "the server closed it")
            return False
        self.links[index]["recv_end"] = end + count
        return True

    def _break(self, index: int, reason: str) -> None:
        """Note that a connection failed; what it has received is still read until it ends."""
        if not self._broken:
            host, port = self.target
            self._broken = f"{host}:{port}: connection {index + 1} broke: {reason}"
        self.links[index]["send_start"] = self.links[index]["send_end"] = 0
        self._waiting.discard(index)
        self._stop()

    def _drop(self, index: int, reason: str) -> None:
        self._break(index, reason)
        with contextlib.suppress(KeyError):
            self._selector.unregister(self._sockets[index])
            self._open -= 1


def _check(source: Source, plan: Plan) -> None:
    if bool(plan.rate > 0) == bool(plan.in_flight > 0):
        raise ValueError("give either a rate (open loop) or payments in flight (closed loop)")
    if plan.seconds <= 0 or plan.warmup_s < 0 or plan.drain_s < 0:
        raise ValueError("seconds must be over 0, warm-up and drain 0 or more")
    if not 1 <= plan.connections <= _MOST_CONNECTIONS:
        raise ValueError(f"connections must be 1 to {_MOST_CONNECTIONS}")
    if not (0 <= plan.repeat_share <= 1 and 0 <= plan.reversal_share <= 1):
        raise ValueError("shares of repeats and reversals are 0 to 1")
    if not len(source.orders):
        raise ValueError("there are no payments to send")


def _start_state(source: Source, plan: Plan) -> NDArray[Any]:
    span_s = plan.warmup_s + plan.seconds
    state = np.zeros(1, dtype=RUN)
    run = state[0]
    if plan.rate > 0:
        # Repeats and reversals ride along, so that all messages together come at the rate.
        payment_rate = plan.rate / (1 + plan.repeat_share + plan.reversal_share)
        run["interval_us"] = 1e6 / payment_rate
        run["capacity"] = int(span_s * payment_rate)
        if run["capacity"] < 1:
            raise ValueError("rate x seconds is less than one payment")
    else:
        run["window"] = plan.in_flight
        run["capacity"] = min(int(span_s * _CLOSED_LOOP_RATE), _CLOSED_LOOP_MOST)
    if plan.payments:
        run["capacity"] = min(int(run["capacity"]), plan.payments)
    if run["capacity"] > _OPEN_LOOP_MOST:
        raise ValueError(f"rate x seconds is over {_OPEN_LOOP_MOST} payments: make one smaller")
    if not 0 <= plan.first_number <= MAX_NUMBER - int(run["capacity"]):
        raise ValueError("message numbers must fit in the twelve digits of DE37")
    run["first_number"] = plan.first_number
    run["wall_s"] = -1 if source.simulated_clock else 0
    run["seed"] = plan.seed
    run["repeat_share"] = round(plan.repeat_share * (1 << 20))
    run["reversal_share"] = round(plan.reversal_share * (1 << 20))
    run["lag"] = 32 * plan.connections
    run["warm_us"] = int(plan.warmup_s * 1e6)
    run["late_us"] = _LATE_US
    return state


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()
