"""What the codec tests share: calls of the kernels on byte strings, and strategies of messages."""

import string
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from engine.wire.columns import FIELD_COUNT, REPLY, REQUEST
from engine.wire.dialect import Dialect, Field, Use, load_builtin
from engine.wire.encode_kernels import REPLY_OVERHEAD_BYTES, encode_batch
from engine.wire.kernels import decode_batch
from engine.wire.table import SEGMENT, compile_dialects

BIN, HEX = load_builtin("iso87-bin"), load_builtin("iso87-hex")
DIALECTS = (BIN, HEX)
TABLE = compile_dialects(DIALECTS)
KEY = (0x0123456789ABCDEF, 0xFEDCBA9876543210)
HASH_KEY = np.array(KEY, np.uint64)

SAMPLE: dict[int, str | bytes] = {
    2: "4111111111111111",
    3: "000000",
    4: "000000012345",
    7: "1123214501",
    11: "000123",
    14: "3012",
    22: "051",
    32: "12345678901",
    37: "123456789012",
    41: "TERM0001",
    42: "MERCHANT0000001",
    49: "840",
    52: bytes(range(8)),
}


@dataclass
class Batch:
    """Arrays after one decode call."""

    arena: np.ndarray
    segments: np.ndarray
    request: np.ndarray
    spans: np.ndarray
    pan_block: np.ndarray
    rows: int


def decode(links: list[tuple[int, bytes]], capacity: int = 64) -> Batch:
    """Decode the bytes of links, each a (dialect row, bytes), in one call; the arena is exact."""
    arena = np.array(bytearray(b"".join(data for _, data in links)) or bytearray(1), np.uint8)
    segments = np.zeros(max(len(links), 1), SEGMENT)
    at = 0
    for s, (dialect, data) in enumerate(links):
        segments[s]["start"], segments[s]["end"] = at, at + len(data)
        segments[s]["dialect"] = dialect
        at += len(data)
    request = np.zeros(capacity, REQUEST)
    spans = np.zeros((capacity, FIELD_COUNT, 2), np.uint16)
    block = np.zeros((capacity, 16), np.uint8)
    rows = decode_batch(arena, segments, len(links), TABLE, HASH_KEY, request, spans, block)
    return Batch(arena, segments, request, spans, block, rows)


def frame(message: bytes) -> bytes:
    """Put the length header before a message."""
    return len(message).to_bytes(2, "big") + message


def columns(batch: Batch, row: int = 0) -> dict[str, int]:
    """Return the columns of a row that depend on its message only."""
    skipped = ("start", "size", "segment", "dialect")
    return {n: int(batch.request[row][n]) for n in REQUEST.names if n not in skipped}


def field_spans(batch: Batch, row: int = 0) -> dict[int, tuple[int, int]]:
    """Return (offset, length) of every field that the row's bitmap words name."""
    high, low = int(batch.request[row]["bitmap_hi"]), int(batch.request[row]["bitmap_lo"])
    bits = f"{high:064b}{low:064b}"
    numbers = [i + 1 for i, bit in enumerate(bits) if bit == "1"]
    return {n: (int(batch.spans[row, n, 0]), int(batch.spans[row, n, 1])) for n in numbers}


def encode(
    batch: Batch,
    replies: list[tuple[int, int, bytes, bytes, tuple[int, bytes] | None]],
    room: int | None = None,
) -> list[bytes]:
    """Encode answers, each (row, mti, response, approval, extra); return the frames."""
    reply = np.zeros(max(len(replies), 1), REPLY)
    extra_bytes = b""
    for r, (row, mti, response, approval, extra) in enumerate(replies):
        reply[r]["request"], reply[r]["mti"] = row, mti
        reply[r]["response"] = int.from_bytes(response, "little")
        reply[r]["has_approval"] = bool(approval)
        reply[r]["approval"] = int.from_bytes(approval, "little")
        if extra:
            reply[r]["extra_field"] = extra[0]
            reply[r]["extra_start"], reply[r]["extra_size"] = len(extra_bytes), len(extra[1])
            extra_bytes += extra[1]
    need = int(batch.request["size"].sum()) + len(extra_bytes)
    need += len(replies) * REPLY_OVERHEAD_BYTES
    out = np.full((need if room is None else room) + 8, 0xEE, np.uint8)
    ends = np.zeros(max(len(replies), 1), np.int64)
    extra_array = np.array(bytearray(extra_bytes) or bytearray(1), np.uint8)
    total = encode_batch(
        batch.arena, batch.request, batch.spans, reply, len(replies), TABLE, extra_array,
        out[:-8], ends,
    )  # fmt: skip
    assert bytes(out[-8:]) == b"\xee" * 8, "written past the end of out"
    if total < 0:
        raise OverflowError
    starts = [0, *ends[: len(replies) - 1]] if replies else []
    return [out[a:b].tobytes() for a, b in zip(starts, ends, strict=False)]


_DIGITS = st.sampled_from(string.digits)
_ALPHABETS = {
    "n": string.digits,
    "an": string.ascii_letters + string.digits + " ",
    "ans": "".join(map(chr, range(0x20, 0x7F))),
    "ns": "".join(chr(c) for c in range(0x20, 0x7F) if not chr(c).isalpha()),
    "z": string.digits + "=D",
    "x+n": string.digits,
}
_DATE = st.builds("{:02d}{:02d}".format, st.integers(1, 12), st.integers(1, 31))
_TIME = st.builds(
    "{:02d}{:02d}{:02d}".format, st.integers(0, 23), st.integers(0, 59), st.integers(0, 59)
)
_EXPIRY = st.builds("{:02d}{:02d}".format, st.integers(0, 99), st.integers(1, 12))
_NUMBER3 = st.text(string.digits, min_size=3, max_size=3)


def digits(size: int) -> st.SearchStrategy[str]:
    """Texts of exactly so many digits."""
    return st.text(string.digits, min_size=size, max_size=size)


def value_of(field: Field) -> st.SearchStrategy[str | bytes]:
    """Values that the dialect allows in a field; cards are added apart."""
    special = {
        Use.TRANSMITTED: st.builds(str.__add__, _DATE, _TIME),
        Use.LOCAL_TIME: _TIME,
        Use.LOCAL_DATE: _DATE,
        Use.EXPIRY: _EXPIRY,
        Use.CURRENCY: _NUMBER3,
        Use.BILLING_CURRENCY: _NUMBER3,
        Use.ORIGINAL: st.builds(
            "{}{}{}{}{}".format, digits(4), digits(6),
            st.one_of(st.just("0" * 10), st.builds(str.__add__, _DATE, _TIME)),
            digits(11), digits(11),
        ),
        Use.REPLACEMENT: digits(42),
    }  # fmt: skip
    if field.use in special:
        return special[field.use]
    least = 0 if field.prefix_digits else field.size
    most = min(field.size, 40) if field.prefix_digits else field.size
    if field.format == "b":
        scale = 2 if field.is_hex else 1
        return st.binary(min_size=least // scale, max_size=most // scale)
    if field.format == "x+n":
        return st.builds(str.__add__, st.sampled_from("CD"), digits(field.size - 1))
    return st.text(_ALPHABETS[field.format], min_size=least, max_size=most)


@st.composite
def cards(draw: st.DrawFn) -> dict[int, str]:
    """Fields 2, 14, 35 and 45 that agree with each other, any of them absent."""
    pan = draw(st.text(string.digits, min_size=1, max_size=19))
    expiry = draw(_EXPIRY)
    values: dict[int, str] = {}
    for number in draw(st.sets(st.sampled_from([2, 14, 35, 45]))):
        mark = draw(st.sampled_from("=D"))
        values[number] = {
            2: pan,
            14: expiry,
            35: f"{pan}{mark}{draw(st.sampled_from([expiry, mark]))}201",
            45: draw(st.sampled_from([f"B{pan}^A/B^{expiry}101", f"B{pan}^^^", "C4111^^"])),
        }[number]
    return values


def messages(dialect: Dialect) -> st.SearchStrategy[tuple[str, dict[int, str | bytes]]]:
    """Valid messages: an MTI and values by field, most with the mandatory fields of 0100."""
    free = {
        n: value_of(f)
        for n, f in dialect.fields.items()
        if f.use not in (Use.PAN, Use.EXPIRY, Use.TRACK1, Use.TRACK2)
    }
    common = {n: free[n] for n in (3, 4, 7, 11, 12, 13, 22, 32, 37, 41, 42, 49)}
    some = st.sets(st.sampled_from(sorted(free)), max_size=6).flatmap(
        lambda numbers: st.fixed_dictionaries({n: free[n] for n in numbers})
    )
    base = st.one_of(st.fixed_dictionaries(common), st.just({}))
    values = st.builds(lambda *parts: {**parts[0], **parts[1], **parts[2]}, base, some, cards())
    mti = st.sampled_from(
        ["0100", "0101", "0110", "0200", "0400", "0420", "0421", "0800", "0600", "1100", "9999"]
    )
    return st.tuples(mti, values)
