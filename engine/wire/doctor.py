"""Which dialect some bytes speak, and what is wrong with them where.

Each shipped dialect is tried with its own framing, with every other one's, and without any; the
kernels read what they can, and a score says how well that went: how many bytes were understood,
whether the messages are whole, and whether what they say can be. Nothing here is sure: the ranking
is what a person would try next.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.wire.columns import FIELD_COUNT, REQUEST, Fault
from engine.wire.dialect import Dialect
from engine.wire.dialect_file import Framing
from engine.wire.kernels import decode_batch
from engine.wire.table import SEGMENT, FrameFault, compile_dialects
from engine.wire.text import add_header
from ledger.money import EXPONENT

MESSAGES_MAX = 64  # of a stream are looked at
_BARE = "none"
_COVERED, _SOUND, _LIKELY = 60, 20, 20  # what the parts of a score weigh
_WHOLE = (Fault.NONE, Fault.MISSING)
_IN_STEP = (Fault.CHARSET, Fault.VALUE, Fault.STRUCTURE)  # the next field is still found


@dataclass(frozen=True, slots=True)
class Read:
    """One message that was found: where its MTI stands in the bytes, and its first fault."""

    start: int
    size: int
    mti: int
    fault: Fault
    fault_field: int
    fault_offset: int  # in the bytes given


@dataclass(frozen=True, slots=True)
class Finding:
    """How well a dialect behind a framing fits; ``score`` is 0 to 100."""

    dialect: Dialect
    framing: str  # whose framing it is, in words; "none" = the bytes are a message without a frame
    is_own: bool
    score: int
    reads: tuple[Read, ...]
    stop: str  # why the stream could not be read on; "" = it ended
    stop_offset: int


def diagnose(data: bytes, dialects: Sequence[Dialect]) -> list[Finding]:
    """Return how the dialects fit the bytes, the best first; those that read nothing are left out.

    Raises
    ------
    ValueError
        There are no bytes.
    """
    if not data:
        raise ValueError("no bytes")
    framings = _framings(dialects)
    findings = []
    for dialect in dialects:
        table_dialects = [_framed(dialect, framing) for framing in framings]
        for framed in table_dialects:
            is_own = _shape(framed.framing) == _shape(dialect.framing)
            findings.append(_try_frames(data, framed, is_own=is_own))
        findings.append(_try_bare(data, dialect))
    order = {dialect.name: k for k, dialect in enumerate(dialects)}
    found = [finding for finding in findings if finding.reads and finding.score > 0]
    return sorted(found, key=lambda f: (-f.score, not f.is_own, order[f.dialect.name]))


def framing_words(framing: Framing) -> str:
    """Return a framing as a person would say it."""
    parts = [f"{framing.header_bytes} bytes {framing.length}"]
    if framing.reserved_bytes:
        parts.append(f"{framing.reserved_bytes} reserved")
    if framing.counts == "all":
        parts.append("counting themselves")
    if framing.envelope != "none":
        parts.append(f"{framing.envelope} header of {framing.envelope_bytes}")
    if framing.trailer:
        parts.append(f"trailer {framing.trailer}")
    return ", ".join(parts)


def _shape(framing: Framing) -> tuple[Any, ...]:
    """Return what a framing is, but for the sizes of its messages."""
    whole = msgspec.structs.astuple(framing)
    return whole[:1] + whole[3:]


def _framings(dialects: Iterable[Dialect]) -> list[Framing]:
    shapes = {_shape(dialect.framing): dialect.framing for dialect in dialects}
    return list(shapes.values())


def _framed(dialect: Dialect, framing: Framing) -> Dialect:
    sizes = {"min_bytes": dialect.framing.min_bytes, "max_bytes": dialect.framing.max_bytes}
    return replace(dialect, framing=msgspec.structs.replace(framing, **sizes))


def _try_frames(data: bytes, dialect: Dialect, *, is_own: bool) -> Finding:
    request, segment, valid = _decode(data, dialect)
    reads = tuple(_read(row, 0) for row in request)
    consumed = int(segment["consumed"])
    fault = FrameFault(int(segment["fault"]))
    stop = fault.name.lower().replace("_", " ") if fault else ""
    if not stop and consumed < len(data) and len(reads) < MESSAGES_MAX:
        stop = "cut short"
    understood = consumed / len(data) if len(reads) < MESSAGES_MAX else 1.0
    score = _score(request, valid, dialect, understood)
    words = framing_words(dialect.framing)
    return Finding(dialect, words, is_own, score, reads, stop, consumed if stop else 0)


def _try_bare(data: bytes, dialect: Dialect) -> Finding:
    if not dialect.framing.min_bytes <= len(data) <= dialect.framing.max_bytes:
        return Finding(dialect, _BARE, False, 0, (), "", 0)  # noqa: FBT003
    frame = add_header(dialect, data)
    head = frame.index(data, len(frame) - len(data) - len(dialect.framing.trailer) // 2)
    request, _, valid = _decode(frame, dialect)
    reads = tuple(_read(row, head) for row in request)
    return Finding(dialect, _BARE, False, _score(request, valid, dialect, 1.0), reads, "", 0)  # noqa: FBT003


def _decode(data: bytes, dialect: Dialect) -> tuple[NDArray[Any], Any, list[tuple[int, bool]]]:
    arena = np.frombuffer(data, np.uint8).copy()
    segments = np.zeros(1, SEGMENT)
    segments[0]["end"] = len(arena)
    request = np.zeros(MESSAGES_MAX, REQUEST)
    spans = np.zeros((MESSAGES_MAX, FIELD_COUNT, 2), np.uint16)
    block = np.zeros((MESSAGES_MAX, 16), np.uint8)
    table = compile_dialects([dialect])
    key = np.zeros(2, np.uint64)
    count = decode_batch(arena, segments, 1, table, key, request, spans, block)
    valid = [_valid(request[i], spans[i], dialect) for i in range(count)]
    return request[:count], segments[0], valid


def _read(row: Any, head: int) -> Read:
    start = int(row["start"]) - head
    return Read(
        start=start,
        size=int(row["size"]),
        mti=int(row["mti"]),
        fault=Fault(int(row["fault"])),
        fault_field=int(row["fault_field"]),
        fault_offset=start + int(row["fault_offset"]),
    )


def _score(
    request: NDArray[Any],
    valid: list[tuple[int, bool]],
    dialect: Dialect,
    understood: float,
) -> int:
    if not len(request):
        return 0
    share = np.array([_share(row, *pair) for row, pair in zip(request, valid, strict=True)])
    weight = request["size"] / request["size"].sum()
    covered = understood * float((share * weight).sum())
    sound = float((request["fault"] == Fault.NONE).mean())
    likely = float(np.mean([_likelihood(row, dialect) for row in request]))
    return round(_COVERED * covered + _SOUND * sound + _LIKELY * likely)


def _share(row: Any, field_bytes: int, is_known: bool) -> float:  # noqa: FBT001
    """Return how much of a message was understood: all of it, or the bytes of its valid fields.

    Where the place of the next field was lost, half of these count; so they do in a message of a
    type that the dialect does not describe.
    """
    share = 1.0
    if row["fault"] not in _WHOLE:
        share = field_bytes / max(int(row["size"]), 1)
        share *= 1.0 if row["fault"] in _IN_STEP else 0.5
    return share if is_known else share / 2


def _valid(row: Any, spans: NDArray[np.uint16], dialect: Dialect) -> tuple[int, bool]:
    """Return (bytes of the fields that could be read, whether the type is one of the dialect's)."""
    names = ("bitmap_hi", "bitmap_lo", "bitmap_third")
    bits = "".join(f"{int(row[name]):064b}" for name in names)
    numbers = [k + 1 for k, bit in enumerate(bits) if bit == "1"]
    mti = int(row["mti"])
    asked = mti - 10 if mti // 10 % 2 else mti
    return int(spans[numbers, 1].sum()), 0 <= mti < 1000 and asked in dialect.messages


def _likelihood(row: Any, dialect: Dialect) -> float:
    """Return the share of what a message says that can be: its type, card, currency and time."""
    signs = [int(row["mti"]) >= 0]
    if row["pan_length"]:
        signs.append(bool(row["luhn"]))
    if row["currency"] >= 0:
        signs.append(bool(EXPONENT[min(int(row["currency"]), 999)] <= 4))
    if dialect.version == 0:
        signs.append(int(row["transmitted"]) > 0)
    signs.append(int(row["stan"]) >= 0)
    return sum(signs) / len(signs)
