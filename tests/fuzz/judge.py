"""What must hold for any bytes of a link: the judge of every fuzzing run.

No read or write out of place, each message as the plain decoder reads it, the same however the
bytes are cut, an answer that its own dialect reads without a fault, no card number in an error.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.messages import PAN
from engine.wire.columns import FIELD_COUNT, REPLY, REQUEST, Fault
from engine.wire.dialect import BUILTIN_DIALECTS, load_builtin
from engine.wire.encode_kernels import REPLY_OVERHEAD_BYTES, encode_batch, reply_mti
from engine.wire.kernels import decode_batch
from engine.wire.report import fault_text
from engine.wire.table import SEGMENT, FrameFault, compile_dialects
from engine.wire.text import explain_message
from tests.oracle import codec as oracle

DIALECTS = [load_builtin(name) for name in BUILTIN_DIALECTS]
TABLE = compile_dialects(DIALECTS)
KEY = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
HASH_KEY = np.array(KEY, np.uint64)
_SKIPPED = {"start", "size", "envelope", "segment", "dialect", "told", "spare"}
_WORDS = ("bitmap_hi", "bitmap_lo", "bitmap_third")
_CANARY = 0xEE


@dataclass
class Decoded:
    """One call of the decoder on the bytes of several links."""

    arena: NDArray[np.uint8]
    segments: NDArray[np.void]
    request: NDArray[np.void]
    spans: NDArray[np.uint16]


def decode(links: list[tuple[int, bytes]]) -> Decoded:
    """Decode links, each (place of its dialect, bytes), in one call; the arena has no byte more."""
    arena = np.frombuffer(b"".join(data for _, data in links) or b"\0", np.uint8).copy()
    segments = np.zeros(len(links), SEGMENT)
    at = 0
    for segment, (dialect, data) in zip(segments, links, strict=True):
        segment["start"], segment["end"], segment["dialect"] = at, at + len(data), dialect
        at += len(data)
    rows = at // 10 + 1  # no message is shorter
    request = np.zeros(rows, REQUEST)
    spans = np.zeros((rows, FIELD_COUNT, 2), np.uint16)
    block = np.zeros((rows, 16), np.uint8)
    count = decode_batch(arena, segments, len(links), TABLE, HASH_KEY, request, spans, block)
    return Decoded(arena, segments, request[:count], spans)


def judge_places(links: list[tuple[int, bytes]], decoded: Decoded) -> None:
    """Everything that was found lies where it may, and every code is one that exists."""
    segments, request = decoded.segments, decoded.request
    sizes = np.array([len(data) for _, data in links])
    assert ((segments["consumed"] >= 0) & (segments["consumed"] <= sizes)).all()
    assert np.isin(segments["fault"], list(FrameFault)).all()
    assert segments["row_count"].sum() == len(request)
    if not len(request):
        return
    end = request["start"] + request["size"]
    link = segments[request["segment"]]
    assert (request["start"] - request["envelope"] >= link["start"]).all()
    assert (end <= link["start"] + link["consumed"]).all()
    assert np.isin(request["fault"], list(Fault)).all()
    assert ((request["fault_offset"] >= 0) & (request["fault_offset"] <= request["size"])).all()
    assert (request["fault_field"] < FIELD_COUNT).all()
    present = np.concatenate([_bits(request[word]) for word in _WORDS], axis=1)
    spans = decoded.spans[: len(request), 1:].astype(np.int64)
    assert ((spans.sum(axis=2) <= request["size"][:, None]) | ~present).all()


def _bits(words: NDArray[np.uint64]) -> NDArray[np.bool_]:
    return np.unpackbits(words.astype(">u8").view(np.uint8).reshape(-1, 8), axis=1).astype(bool)


def judge_cut(links: list[tuple[int, bytes]], decoded: Decoded, cuts: list[int]) -> None:
    """The first part of each link, then the rest, gives the rows of the whole."""
    first = decode([(d, data[:cut]) for (d, data), cut in zip(links, cuts, strict=True)])
    rest = [
        (d, b"" if segment["fault"] else data[int(segment["consumed"]) :])
        for (d, data), segment in zip(links, first.segments, strict=True)
    ]
    second = decode(rest)
    segments = np.concatenate([first.request["segment"], second.request["segment"]])
    order = np.argsort(segments, kind="stable")  # of one link, the first part's rows stay first
    assert np.array_equal(segments[order], decoded.request["segment"])
    for name in set(REQUEST.names or ()) - _SKIPPED:
        parts = np.concatenate([first.request[name], second.request[name]])
        assert np.array_equal(parts[order], decoded.request[name]), name


def judge_answers(decoded: Decoded) -> None:
    """Every request that can be answered gets a frame that its dialect reads without a fault."""
    request = decoded.request
    asks = np.flatnonzero((request["mti"] >= 0) & (request["mti"] // 10 % 2 == 0))
    reply = np.zeros(len(asks), REPLY)
    if not len(asks):
        return
    reply["request"] = asks
    reply["mti"] = [int(reply_mti(int(mti))) for mti in request["mti"][asks]]
    reply["response"] = int.from_bytes(b"30", "little")
    reply["approval"] = int.from_bytes(b"A1B2C3", "little")
    reply["has_approval"] = asks % 2
    reply["wants_mac"] = asks % 3 == 0
    reply["decision"] = -1
    reply["extra_count"] = 1
    reply["extra_field"][:, 0] = 44
    reply["extra_size"][:, 0] = 3
    room = int((request["size"] + request["envelope"])[asks].sum())
    room += len(asks) * (REPLY_OVERHEAD_BYTES + 6)
    out = np.full(room + 8, _CANARY, np.uint8)
    ends = np.zeros(len(asks), np.int64)
    extra = np.frombuffer(b"004", np.uint8).copy()
    total = encode_batch(
        decoded.arena, request, decoded.spans, reply, len(asks), TABLE, extra, out[:-8], ends
    )
    assert total == ends[-1] > 0
    assert (out[-8:] == _CANARY).all()
    starts = np.concatenate(([0], ends[:-1]))
    places = request["dialect"][asks]
    frames = [(int(d), out[a:b].tobytes()) for d, a, b in zip(places, starts, ends, strict=True)]
    read = decode(frames)
    assert len(read.request) == len(asks)
    # DE44 is bytes of a structure of their own in some dialects; nothing else may be at fault.
    wrong = (read.request["fault"] != Fault.NONE) & (read.request["fault_field"] != 44)
    assert not wrong.any(), (
        BUILTIN_DIALECTS[places[wrong][0]],
        read.request[wrong][0]["fault_field"],
    )


def judge_like_oracle(decoded: Decoded, row: int) -> None:
    """A message is as the plain decoder reads it, and its error tells nothing of the card."""
    found = decoded.request[row]
    dialect = DIALECTS[int(found["dialect"])]
    start, size = int(found["start"]), int(found["size"])
    message = decoded.arena[start : start + size].tobytes()
    expected = oracle.decode(dialect, message, KEY)
    columns = {n: int(found[n]) for n in REQUEST.names or () if n not in _SKIPPED}
    assert columns == expected.columns, dialect.name
    bits = "".join(f"{int(found[word]):064b}" for word in _WORDS)
    numbers = [k + 1 for k, bit in enumerate(bits) if bit == "1"]
    spans = {n: (int(decoded.spans[row, n, 0]), int(decoded.spans[row, n, 1])) for n in numbers}
    assert spans == expected.fields
    if found["fault"] != Fault.NONE:
        told = explain_message(dialect, message)
        text = fault_text(told.fault, told.fault_field, told.fault_offset)
        assert PAN not in text
        assert told.fault == Fault.MISSING or PAN not in repr(told)
