"""Log lines: structured, bounded, never in the way of the event loop, never with a card number.

``Log.info("link.closed", link=3)`` puts a small tuple into a bounded queue; a thread of its own
formats and writes. When stderr is slow, lines are dropped and counted, and the count is written as
soon as there is room. Fields come from an allow-list (``Fields``); text in them passes
``hide_pans``. Each call site has its own event name, so that a line leads back to its code. The hot
path counts (``engine.metrics``) and does not log.
"""

import queue
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import PurePath
from typing import Literal, NamedTuple, TextIO, TypedDict, Unpack

import msgspec

from engine import limits
from ledger.pan import HIDDEN, hide_pans

TEXT_CHARACTERS_MAX = 512  # of one field: a line stays a line
_DRAIN_S = 2.0  # at the end, for a stderr that does not take what is left


class Level(IntEnum):
    """How urgent a line is."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Fields(TypedDict, total=False):
    """Every field a line may have; mypy checks the call sites. No frame and no field content."""

    msg: str  # one sentence for people, constant at the call site
    address: str
    peer: str
    link: int
    dialect: str
    mti: int
    stan: int
    rrn: str
    field: int  # data element at fault
    offset: int
    reason: str
    decision: str
    rc: str
    rule: str
    seq: int
    head: str
    batch: int
    count: int
    records: int
    accounts: int
    cards: int
    rows: int
    bytes: int
    duration_us: int
    account: str
    card: str  # the card's id, never its number
    operator: str
    method: str
    path: str
    status: int
    file: str | PurePath
    version: str
    model: str
    rules: str
    durability: str
    signal: str
    error: str | BaseException
    pid: int


FIELD_NAMES = tuple(Fields.__annotations__)


class _Line(NamedTuple):
    ts_ns: int
    level: Level
    event: str
    fields: Fields


class Log:
    """Where lines go; one for the process, handed to those who need it.

    Parameters
    ----------
    stream
        A text stream, stderr by default.
    level
        Lines under it cost one comparison.
    style
        ``json``, ``text``, or ``auto``: text on a terminal.
    clock_ns
        Unix time in ns.
    queue_max
        Lines that may wait.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        *,
        level: str = "info",
        style: Literal["auto", "json", "text"] = "auto",
        clock_ns: Callable[[], int] = time.time_ns,
        queue_max: int = limits.LOG_QUEUE_MAX,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._level = Level[level.upper()]
        is_text = style == "text" or (style == "auto" and self._stream.isatty())
        self._format = text_line if is_text else json_line
        self._clock_ns = clock_ns
        self._queue: queue.Queue[_Line | None] = queue.Queue(queue_max)
        self.dropped_count = 0
        self._dropped_written = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def debug(self, event: str, **fields: Unpack[Fields]) -> None:
        """Put a line for developers."""
        self._put(Level.DEBUG, event, fields)

    def info(self, event: str, **fields: Unpack[Fields]) -> None:
        """Put a line about normal work."""
        self._put(Level.INFO, event, fields)

    def warning(self, event: str, **fields: Unpack[Fields]) -> None:
        """Put a line that an operator should look at some day."""
        self._put(Level.WARNING, event, fields)

    def error(self, event: str, **fields: Unpack[Fields]) -> None:
        """Put a line that an operator should look at now."""
        self._put(Level.ERROR, event, fields)

    def close(self) -> None:
        """Write what waits, for two seconds at most, and end the thread; later lines are lost."""
        try:
            self._queue.put(None, timeout=_DRAIN_S)
        except queue.Full:
            return
        self._thread.join(_DRAIN_S)

    def _put(self, level: Level, event: str, fields: Fields) -> None:
        if level < self._level:
            return
        assert fields.keys() <= set(FIELD_NAMES), f"{event}: fields not in the allow-list"
        try:
            self._queue.put_nowait(_Line(self._clock_ns(), level, event, fields))
        except queue.Full:
            self.dropped_count += 1

    def _write(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                self._stream.write(self._format(line))
                self._note_drops(line.ts_ns)
                if self._queue.empty():
                    self._stream.flush()
            except (OSError, ValueError):  # the stream is gone: nobody to tell
                self.dropped_count += 1

    def _note_drops(self, ts_ns: int) -> None:
        dropped = self.dropped_count - self._dropped_written
        if dropped:
            self._dropped_written += dropped
            note = _Line(ts_ns, Level.WARNING, "log.dropped", {"count": dropped})
            self._stream.write(self._format(note))


def json_line(line: _Line) -> str:
    """Return one JSON object and a line end: ts, level, event, then the fields."""
    head = {"ts": _utc(line.ts_ns), "level": line.level.name.lower(), "event": line.event}
    return msgspec.json.encode(head | _safe(line.fields)).decode() + "\n"


def text_line(line: _Line) -> str:
    """Return the line for a person at a terminal."""
    fields = _safe(line.fields)
    message = fields.pop("msg", "")
    pairs = " ".join(f"{name}={_word(value)}" for name, value in fields.items())
    parts = [_utc(line.ts_ns)[11:26], f"{line.level.name:<7}", line.event, str(message), pairs]
    return " ".join(part for part in parts if part) + "\n"


def _safe(fields: Fields) -> dict[str, object]:
    """Return the fields that have a value, fit for all eyes, in the order of the allow-list."""
    given: dict[str, object] = dict(fields)
    return {name: _safe_value(given[name]) for name in FIELD_NAMES if given.get(name) is not None}


def _safe_value(value: object) -> int | str:
    """Return a number or text with card numbers hidden; any other type is hidden whole."""
    if not isinstance(value, (int, str, PurePath, BaseException)):
        return HIDDEN
    text = str(value)
    safe = hide_pans(text)
    if isinstance(value, int) and safe == text:
        return value
    return safe[:TEXT_CHARACTERS_MAX]


def _word(value: object) -> str:
    text = str(value)
    return msgspec.json.encode(text).decode() if not text.isprintable() or " " in text else text


def _utc(ts_ns: int) -> str:
    at = datetime.fromtimestamp(ts_ns // 1_000_000_000, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{ts_ns // 1000 % 1_000_000:06d}Z"
