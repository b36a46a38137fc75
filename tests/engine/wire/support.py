"""What the codec tests share: calls of the kernels on byte strings, and strategies of messages."""

import string
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from hypothesis import strategies as st

from engine.replies import add_extra
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
    more: Sequence[tuple[int, bytes]] = (),
    mac_at: list[int] | None = None,
) -> list[bytes]:
    """Encode answers, each (row, mti, response, approval, extra); return the frames.

    ``more`` are extra fields of every answer; ``mac_at`` takes where each has room for its MAC.
    """
    reply = np.zeros(max(len(replies), 1), REPLY)
    extra_bytes = b""
    for r, (row, mti, response, approval, extra) in enumerate(replies):
        reply[r]["request"], reply[r]["mti"] = row, mti
        reply[r]["response"] = int.from_bytes(response, "little")
        reply[r]["has_approval"] = bool(approval)
        reply[r]["approval"] = int.from_bytes(approval, "little")
        reply[r]["wants_mac"] = mac_at is not None
        for number, value in ((extra,) if extra else ()) + tuple(more):
            add_extra(reply[r], number, len(extra_bytes), len(value))
            extra_bytes += value
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
    if mac_at is not None:
        mac_at += reply["mac_at"][: len(replies)].tolist()
    starts = [0, *ends[: len(replies) - 1]] if replies else []
    return [out[a:b].tobytes() for a, b in zip(starts, ends, strict=False)]


_ALPHABETS = {
    "n": string.digits,
    "an": string.ascii_letters + string.digits + " ",
    "ans": "".join(map(chr, range(0x20, 0x7F))),
    "ns": "".join(chr(c) for c in range(0x20, 0x7F) if not chr(c).isalpha()),
    "z": string.digits + "=D",
    "x+n": string.digits,
}
_CARD_USES = (Use.PAN, Use.EXPIRY, Use.TRACK1, Use.TRACK2)
_COMMON = (3, 4, 7, 11, 12, 13, 22, 32, 37, 41, 42, 49)
_MTIS = ("0100", "0101", "0110", "0200", "0400", "0420", "0421", "0800", "0600", "1100", "9999")


def messages(dialect: Dialect) -> st.SearchStrategy[tuple[str, dict[int, str | bytes]]]:
    """Valid messages, an MTI and values by field; drawn by seed, which is much the faster way."""
    return st.integers(0, 1 << 32).map(lambda seed: _message(dialect, Random(seed)))


def _message(dialect: Dialect, random: Random) -> tuple[str, dict[int, str | bytes]]:
    numbers = [n for n, f in dialect.fields.items() if f.use not in _CARD_USES]
    chosen = set(random.sample(numbers, random.randint(0, 7)))
    if random.random() < 0.7:
        chosen |= set(_COMMON)
    values = {n: _value(dialect.fields[n], random) for n in chosen}
    return random.choice(_MTIS), {**values, **_cards(random)}


def _digits(random: Random, size: int) -> str:
    return "".join(random.choices(string.digits, k=size))


def _date(random: Random) -> str:
    return f"{random.randint(1, 12):02d}{random.randint(1, 31):02d}"


def _time(random: Random) -> str:
    return f"{random.randint(0, 23):02d}{random.randint(0, 59):02d}{random.randint(0, 59):02d}"


def _value(field: Field, random: Random) -> str | bytes:
    """Return a value that the dialect allows in a field."""
    if field.use == Use.TRANSMITTED:
        return _date(random) + _time(random)
    if field.use == Use.LOCAL_TIME:
        return _time(random)
    if field.use == Use.LOCAL_DATE:
        return _date(random)
    if field.use in (Use.CURRENCY, Use.BILLING_CURRENCY, Use.REPLACEMENT):
        return _digits(random, field.size)
    if field.use == Use.ORIGINAL:
        moment = random.choice(["0" * 10, _date(random) + _time(random)])
        return _digits(random, 10) + moment + _digits(random, 22)
    size = random.randint(0, min(field.size, 60)) if field.prefix_digits else field.size
    if field.prefix_digits and random.random() < 0.1:
        size = field.size
    if field.format == "b":
        return random.randbytes(size // 2 if field.is_hex else size)
    if field.format == "x+n":
        return random.choice("CD") + _digits(random, field.size - 1)
    return "".join(random.choices(_ALPHABETS[field.format], k=size))


def _cards(random: Random) -> dict[int, str]:
    """Return fields 2, 14, 35 and 45 that agree with each other, any of them absent."""
    pan = _digits(random, random.choice([1, 5, 6, 13, 16, 16, 16, 18, 19]))
    expiry = f"{random.randint(0, 99):02d}{random.randint(1, 12):02d}"
    mark = random.choice("=D")
    values = {
        2: pan,
        14: expiry,
        35: f"{pan}{mark}{random.choice([expiry, mark])}201",
        45: random.choice([f"B{pan}^A/B^{expiry}101", f"B{pan}^^^", "C4111^^"]),
    }
    return {n: value for n, value in values.items() if random.random() < 0.5}
