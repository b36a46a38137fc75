"""What stands inside a field, in plain Python: the other half of the oracle of the codec."""

from engine.wire.dialect import Dialect, Field, Parts, Use
from tests.oracle.codec_fields import DIGITS, ascii_text, read_field


def wrong_part(
    dialect: Dialect, number: int, message: bytes, begin: int
) -> tuple[int | None, dict[str, int]]:
    """Return (offset of the first element of a field that cannot be, or None; columns it fills).

    The field is the end of ``message``, from ``begin`` on.
    """
    parts, field = dialect.parts[number], dialect.fields[number]
    data = message[begin:]
    if parts.kind in ("tlv", "dataset"):
        step = 2 if field.is_hex else 1
        if field.is_hex:
            text = ascii_text(dialect, data) if field.code == 3 else data
            data = bytes.fromhex(text.decode())
        bad = _tlv(data) if parts.kind == "tlv" else _datasets(data)
        return (None if bad is None else begin + bad * step), {}
    if parts.lead > len(data):
        return begin, {}
    at = begin + parts.lead
    if parts.kind in ("pds", "se", "named"):
        text = ascii_text(dialect, message[at:]) if field.code == 2 else message[at:]
        bad = _named(text) if parts.kind == "named" else _tagged(text, parts.kind)
        return (None if bad is None else at + bad), {}
    return _inner_fields(dialect, parts, message, at)


def _inner_fields(
    dialect: Dialect, parts: Parts, message: bytes, at: int
) -> tuple[int | None, dict[str, int]]:
    wanted: list[Field | None] = list(parts.fields.values())
    if parts.kind == "bitmap":
        bitmap = message[at : at + parts.bitmap_bytes]
        if len(bitmap) < parts.bitmap_bytes:
            return at, {}
        at += parts.bitmap_bytes
        bits = "".join(f"{byte:08b}" for byte in bitmap)
        wanted = [parts.fields.get(k + 1) for k, bit in enumerate(bits) if bit == "1"]
    told: dict[str, int] = {}
    for field in wanted:
        if parts.kind == "positional" and at == len(message):
            break
        read = None if field is None else read_field(dialect, field, message, at)
        if field is None or read is None or read.bad_at is not None:
            return at, {}
        if field.use == Use.PARTIAL and read.text:
            told["partial"] = int(read.text)
        if field.use == Use.LIFECYCLE:
            told["lifecycle"] = int(read.text)
        at = read.end
    return (at if at < len(message) else None), told


def _element(data: bytes) -> int:
    """Return the bytes of the BER-TLV element that begins ``data``; 0 = it is not whole."""
    at = 1
    if data[0] & 31 == 31:
        for _ in range(3):
            if at >= len(data):
                return 0
            at += 1
            if data[at - 1] < 128:
                break
        else:
            return 0
    if at >= len(data):
        return 0
    size, at = data[at], at + 1
    if size >= 128:
        count = size - 128
        if not 1 <= count <= 2 or at + count > len(data):
            return 0
        size, at = int.from_bytes(data[at : at + count], "big"), at + count
    return at + size if at + size <= len(data) else 0


def _tlv(data: bytes) -> int | None:
    at = 0
    while at < len(data):
        size = 1 if data[at] == 0 else _element(data[at:])
        if not size:
            return at
        at += size
    return None


def _datasets(data: bytes) -> int | None:
    at = 0
    while at < len(data):
        head = data[at : at + 3]
        size = int.from_bytes(head[1:], "big")
        if len(head) < 3 or at + 3 + size > len(data):
            return at
        inner = _tlv(data[at + 3 : at + 3 + size]) if head[0] <= 0x70 else None
        if inner is not None:
            return at + 3 + inner
        at += 3 + size
    return None


def _digits(text: bytes) -> int:
    return int(text) if text and all(c in DIGITS for c in text) else -1


def _tagged(text: bytes, kind: str) -> int | None:
    tag, width = (4, 3) if kind == "pds" else (2, 2)
    at = 0
    while at < len(text):
        head, count = text[at : at + tag], text[at + tag : at + tag + width]
        sound = len(head) == tag and _digits(head) >= 0 and len(count) == width
        size = _digits(count) if sound else -1
        if size < 0 or at + tag + width + size > len(text):
            return at
        at += tag + width + size
    return None


def _named(text: bytes) -> int | None:
    at, pieces = 0, 0
    while at < len(text) or pieces % 2:
        digits = _digits(text[at : at + 1])
        count = text[at + 1 : at + 1 + max(digits, 0)]
        size = _digits(count) if digits > 0 and len(count) == digits else -1
        if size < 0 or at + 1 + digits + size > len(text):
            return at
        at += 1 + digits + size
        pieces += 1
    return None
