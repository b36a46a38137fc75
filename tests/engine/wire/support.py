"""What the codec tests share: calls of the kernels on byte strings, and strategies of messages."""

import string
from calendar import monthrange
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import numpy as np
from hypothesis import strategies as st

from engine.replies import add_extra
from engine.wire.canon import to_ascii, wire_field
from engine.wire.columns import FIELD_COUNT, REPLY, REQUEST
from engine.wire.dialect import BUILTIN_DIALECTS, Dialect, Field, Use, load_builtin
from engine.wire.elements import Code, Unit
from engine.wire.encode_kernels import REPLY_OVERHEAD_BYTES, encode_batch
from engine.wire.kernels import decode_batch
from engine.wire.table import SEGMENT, compile_dialects
from engine.wire.text import add_header

BIN, HEX = load_builtin("iso87-bin"), load_builtin("iso87-hex")
DIALECTS = (
    BIN,
    HEX,
    *(load_builtin(n) for n in BUILTIN_DIALECTS if n not in ("iso87-bin", "iso87-hex")),
)
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


def frame(message: bytes, dialect: Dialect = BIN) -> bytes:
    """Put before a message what the dialect puts there, and its trailer after it."""
    return add_header(dialect, message)


def columns(batch: Batch, row: int = 0) -> dict[str, int]:
    """Return the columns of a row that decoding fills from its message only."""
    skipped = ("start", "size", "envelope", "segment", "dialect", "told", "spare")
    return {n: int(batch.request[row][n]) for n in REQUEST.names if n not in skipped}


def field_spans(batch: Batch, row: int = 0) -> dict[int, tuple[int, int]]:
    """Return (offset, length) of every field that the row's bitmap words name."""
    names = ("bitmap_hi", "bitmap_lo", "bitmap_third")
    bits = "".join(f"{int(batch.request[row][name]):064b}" for name in names)
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
        reply[r]["wants_mac"], reply[r]["decision"] = mac_at is not None, -1
        for number, value in ((extra,) if extra else ()) + tuple(more):
            add_extra(reply[r], number, len(extra_bytes), len(value))
            extra_bytes += value
    need = int(batch.request["size"].sum() + batch.request["envelope"].sum())
    need += 2 * len(extra_bytes) + len(replies) * REPLY_OVERHEAD_BYTES
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
    "a": string.ascii_letters + " ",
    "an": string.ascii_letters + string.digits + " ",
    "ans": "".join(map(chr, range(0x20, 0x7F))),
    "ns": "".join(chr(c) for c in range(0x20, 0x7F) if not chr(c).isalpha()),
    "z": string.digits + "=D",
    "x+n": string.digits,
}
_DATED = (
    *(Use.ORIGINAL, Use.ORIGINAL_LOCAL, Use.LOCAL_MOMENT, Use.TRANSMITTED, Use.LOCAL_TIME),
    Use.LOCAL_DATE,
)
_CARD_USES = (Use.PAN, Use.EXPIRY, Use.TRACK1, Use.TRACK2)
_COMMON = (3, 4, 7, 11, 12, 13, 22, 32, 37, 41, 42, 49)
_MTIS = ("0100", "0101", "0110", "0200", "0400", "0420", "0421", "0800", "0600", "1100", "9999")


def messages(dialect: Dialect) -> st.SearchStrategy[tuple[str, dict[int, str | bytes]]]:
    """Valid messages, an MTI and values by field; drawn by seed, which is much the faster way."""
    return st.integers(0, 1 << 32).map(lambda seed: _message(dialect, Random(seed)))


def _message(dialect: Dialect, random: Random) -> tuple[str, dict[int, str | bytes]]:
    numbers = [n for n, f in dialect.fields.items() if f.use not in _CARD_USES]
    chosen = set(random.sample(numbers, min(random.randint(0, 7), len(numbers))))
    if random.random() < 0.7:
        chosen |= {n for n in _COMMON if n in dialect.fields}
    values = {n: _value(dialect, dialect.fields[n], random) for n in chosen}
    version = random.choice((dialect.version, dialect.version, 0, 1))
    mti = f"{version}{random.choice(_MTIS)[1:]}"
    return mti, {**values, **_cards(dialect, random)}


def _digits(random: Random, size: int) -> str:
    return "".join(random.choices(string.digits, k=size))


def _date(random: Random) -> str:
    month = random.randint(1, 12)
    return f"{month:02d}{random.randint(1, monthrange(2000, month)[1]):02d}"


def _time(random: Random) -> str:
    return f"{random.randint(0, 23):02d}{random.randint(0, 59):02d}{random.randint(0, 59):02d}"


def capacity(field: Field) -> int:
    """Return the characters, digits or bytes that fit into a field."""
    if field.is_bcd:
        return (
            field.limit if field.unit == Unit.DIGITS else 2 * (field.size - (field.format == "x+n"))
        )
    return field.size // 2 if field.is_hex else field.size - (field.format == "x+n")


def drawn_value(dialect: Dialect, number: int, random: Random) -> str | bytes:
    """Return a value that the dialect allows in a field, card data included."""
    use = dialect.fields[number].use
    if use in _CARD_USES:
        pan = _digits(random, 16)
        return {
            Use.PAN: pan,
            Use.EXPIRY: "3012",
            Use.TRACK2: f"{pan}=3012201",
            Use.TRACK1: f"B{pan}^A/B^3012101",
        }[use]
    return _value(dialect, dialect.fields[number], random)


def _value(dialect: Dialect, field: Field, random: Random) -> str | bytes:
    """Return a value that the dialect allows in a field."""
    most = capacity(field)
    if field.use in _DATED:
        return _dated(dialect, field, random)
    if field.use in (Use.CURRENCY, Use.BILLING_CURRENCY, Use.REPLACEMENT):
        return _digits(random, most)
    if field.use == Use.POS_CODES:
        return "".join(random.choices("0123456789ABCMSTUV", k=12))
    size = random.randint(0, min(most, 60)) if field.prefix_digits else most
    if field.prefix_digits and random.random() < 0.1:
        size = most
    if field.number in dialect.parts and dialect.fields[field.number] is field:
        return inside(dialect, field.number, size, random)
    if field.format == "b":
        return random.randbytes(size)
    if field.format == "x+n":
        return random.choice("CD") + _digits(random, most)
    if field.is_bcd and field.unit != Unit.DIGITS:
        size -= size % 2  # an odd number would be filled up
    text = "".join(random.choices(_ALPHABETS[field.format], k=size))
    return text.replace("D", "=") if field.is_bcd else text


def _dated(dialect: Dialect, field: Field, random: Random) -> str:
    moment = _date(random) + _time(random)
    if field.use == Use.ORIGINAL:
        return _digits(random, 10) + random.choice(["0" * 10, moment]) + _digits(random, 22)
    if field.use == Use.ORIGINAL_LOCAL:
        stan = dialect.fields[dialect.field_of(Use.STAN)].limit
        own = dialect.field_of(Use.LOCAL_MOMENT)
        moment = moment.rjust(dialect.fields[own].limit if own else 12, "2")
        acquirer = _digits(random, random.randint(1, 11))
        prefix = f"{len(acquirer):02d}" if dialect.version == 1 else ""
        tail = random.choice(["", f"{prefix}{acquirer}"])
        return _digits(random, 4 + stan) + moment + tail
    if field.use == Use.LOCAL_MOMENT:
        return moment.rjust(capacity(field), "2")
    if field.use == Use.TRANSMITTED:
        return moment
    return moment[4:] if field.use == Use.LOCAL_TIME else moment[:4]


def inside(dialect: Dialect, number: int, most: int, random: Random) -> str | bytes:
    """Return data of a divided field, of at most ``most`` characters or bytes."""
    parts, field = dialect.parts[number], dialect.fields[number]
    if parts.kind in ("tlv", "dataset"):
        return _tlv(most, random) if parts.kind == "tlv" else _datasets(most, random)
    if parts.kind in ("pds", "se", "named"):
        return _tagged(parts.kind, parts.lead, most, random)
    chosen = sorted(random.sample(list(parts.fields), random.randint(0, min(4, len(parts.fields)))))
    if parts.kind == "positional":
        chosen = list(parts.fields)[: len(chosen)]
    bits = sum(1 << (8 * parts.bitmap_bytes - n) for n in chosen)
    data = bits.to_bytes(parts.bitmap_bytes, "big") if parts.kind == "bitmap" else b""
    for n in chosen:
        inner = parts.fields[n]
        data += wire_field(dialect, inner, _value(dialect, inner, random), "inner")
    if field.code == Code.EBCDIC:
        data = to_ascii(dialect, data)
    if not field.prefix_digits:
        data = data.ljust(capacity(field))
    return data[: capacity(field)] if field.format == "b" else data.decode("ascii")


def _tlv(most: int, random: Random) -> bytes:
    data = b""
    for _ in range(random.randint(0, 6)):
        tag = random.choice([b"\x82", b"\x9f\x26", b"\x9f\x10", b"\x5a", b"\xdf\x81\x29", b"\x00"])
        value = random.randbytes(random.randint(0, 12))
        head = (
            b"" if tag == b"\0" else random.choice([bytes([len(value)]), bytes([129, len(value)])])
        )
        piece = tag + head + (b"" if tag == b"\0" else value)
        if len(data) + len(piece) <= most:
            data += piece
    return data


def _datasets(most: int, random: Random) -> bytes:
    data = b""
    for _ in range(random.randint(0, 3)):
        number = random.choice([1, 2, 0x57, 0x71, 0xFE])
        inner = _tlv(30, random) if number <= 0x70 else random.randbytes(random.randint(0, 9))
        if len(data) + 3 + len(inner) <= most:
            data += bytes([number]) + len(inner).to_bytes(2, "big") + inner
    return data


def _tagged(kind: str, lead: int, most: int, random: Random) -> str:
    text = "R" * lead
    for _ in range(random.randint(0, 4)):
        value = "".join(random.choices(_ALPHABETS["ans"], k=random.randint(0, 12)))
        piece = f"{random.randint(0, 99):02d}{len(value):02d}{value}"
        if kind == "pds":
            piece = f"{random.randint(0, 9999):04d}{len(value):03d}{value}"
        if kind == "named":
            piece = f"15names{len(str(len(value)))}{len(value)}{value}"
        if len(text) + len(piece) <= most:
            text += piece
    return text[:most] if lead <= most else ""


def _cards(dialect: Dialect, random: Random) -> dict[int, str]:
    """Return card number, expiry and tracks that agree with each other, any of them absent."""
    pan = _digits(random, random.choice([1, 5, 6, 13, 16, 16, 16, 18, 19]))
    expiry = f"{random.randint(0, 99):02d}{random.randint(1, 12):02d}"
    track2 = dialect.field_of(Use.TRACK2)
    mark = "=" if track2 and dialect.fields[track2].is_bcd else random.choice("=D")
    values = {
        Use.PAN: pan,
        Use.EXPIRY: expiry,
        Use.TRACK2: f"{pan}{mark}{random.choice([expiry, mark])}201",
        Use.TRACK1: random.choice([f"B{pan}^A/B^{expiry}101", f"B{pan}^^^", "C4111^^"]),
    }
    kept = {dialect.field_of(u): v for u, v in values.items() if random.random() < 0.5}
    return {n: value for n, value in kept.items() if n}
