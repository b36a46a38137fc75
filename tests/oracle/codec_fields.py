"""One field of any dialect in plain Python: half of the oracle of the codec kernels."""

import string
from dataclasses import dataclass

from engine.wire.dialect import Dialect, Field, Use
from engine.wire.elements import Code, Prefix, Unit

LETTERS = string.ascii_letters.encode()
DIGITS = string.digits.encode()
PRINTABLE = bytes(range(0x20, 0x7F))
CLASSES = {
    "n": DIGITS,
    "a": LETTERS + b" ",
    "an": LETTERS + DIGITS + b" ",
    "ans": PRINTABLE,
    "ns": bytes(c for c in PRINTABLE if c not in LETTERS),
    "z": DIGITS + b"=D",
    "b": bytes(range(256)),
    "x+n": DIGITS,
}
# Code page 1047 is 037 with these characters elsewhere.
_MOVED = {"^": 0x5F, "[": 0xAD, "]": 0xBD, "\xac": 0xB0, "\xdd": 0xBA, "\xa8": 0xBB}


@dataclass(frozen=True)
class Read:
    """A field that was found: where its data lie, what they say, where they are wrong."""

    begin: int
    end: int
    text: bytes
    bad_at: int | None


def _code_page(dialect: Dialect) -> str:
    name = dialect.encoding.text
    characters = list(bytes(range(256)).decode("cp500" if name == "cp500" else "cp037"))
    if name == "cp1047":
        for character, byte in _MOVED.items():
            characters[byte] = character
    return "".join(characters)


def ascii_text(dialect: Dialect, data: bytes) -> bytes:
    """Return EBCDIC in ASCII; a character that ASCII has not is 0xFF."""
    page = _code_page(dialect)
    return bytes(ord(page[b]) if ord(page[b]) < 128 else 255 for b in data)


def from_ascii_text(dialect: Dialect, data: bytes) -> bytes:
    """Return ASCII in EBCDIC."""
    page = _code_page(dialect)
    return bytes(page.index(chr(c)) for c in data)


def read_field(dialect: Dialect, entry: Field, message: bytes, at: int) -> Read | None:
    """Read a field at ``at``; None = its length cannot be."""
    units = entry.limit
    prefix = message[at : at + entry.prefix_bytes]
    if entry.prefix != Prefix.FIXED:
        units = -1 if len(prefix) < entry.prefix_bytes else _number(dialect, entry, prefix)
    length = {
        Unit.BYTES: units,
        Unit.DIGITS: (units + 1) // 2,
        Unit.HEX_BYTES: 2 * units,
    }[entry.unit]
    begin = at + entry.prefix_bytes
    if not 0 <= units <= entry.limit or begin + length > len(message):
        return None
    if entry.is_hex and length % 2:
        return None
    data = message[begin : begin + length]
    if entry.is_bcd:
        text, bad = _packed(dialect, entry, data, units)
    else:
        is_ebcdic = entry.code in (Code.EBCDIC, Code.EBCDIC_HEX)
        text = ascii_text(dialect, data) if is_ebcdic else data
        bad = _first_wrong(entry, text)
    return Read(begin, begin + length, text, None if bad is None else begin + bad)


def _number(dialect: Dialect, entry: Field, prefix: bytes) -> int:
    if entry.prefix == Prefix.BINARY:
        return int.from_bytes(prefix, "big")
    text = prefix
    if entry.prefix == Prefix.BCD:
        text = prefix.hex().encode()
    elif entry.prefix == Prefix.EBCDIC:
        text = ascii_text(dialect, prefix)
    return int(text) if all(c in DIGITS for c in text) else -1


def _first_wrong(entry: Field, text: bytes) -> int | None:
    allowed = string.hexdigits.encode() if entry.is_hex else CLASSES[entry.format]
    for k, byte in enumerate(text):
        if byte not in (b"CD" if entry.format == "x+n" and k == 0 else allowed):
            return k
    return None


def _packed(dialect: Dialect, entry: Field, data: bytes, units: int) -> tuple[bytes, int | None]:
    """Return the digits of BCD and the first byte that is wrong."""
    sign, skipped = b"", 0
    if entry.format == "x+n":
        sign, skipped = data[:1], 1
        if dialect.encoding.text != "ascii":
            sign = ascii_text(dialect, sign)
        if sign not in (b"C", b"D"):
            return b"", 0
    halves = data[skipped:].hex().upper()
    count = units if entry.unit == Unit.DIGITS else len(halves)
    fillers = len(halves) - count
    start = fillers if entry.code == Code.BCD else 0
    for k, half in enumerate(halves):
        is_filler = not start <= k < start + count
        last_of_bytes = entry.unit != Unit.DIGITS and k == len(halves) - 1
        allowed = "0F" if is_filler else string.digits
        if not is_filler and entry.format == "z":
            allowed += "D"
        if not is_filler and last_of_bytes:
            allowed += "F"
        if half not in allowed:
            return b"", skipped + k // 2
    digits = halves[start : start + count].removesuffix("F").replace("D", "=")
    return sign + digits.encode(), None


def write_field(dialect: Dialect, entry: Field, data: bytes) -> bytes:
    """Write characters, digits or bytes as a field, prefix and all."""
    units = len(data)
    if entry.is_bcd:
        nibbles = data.decode().replace("=", "D")
        filler = f"{entry.pad:X}" * (len(nibbles) % 2)
        written = bytes.fromhex(
            nibbles + filler if entry.code == Code.BCD_LEFT else filler + nibbles
        )
        units = len(data) if entry.unit == Unit.DIGITS else len(written)
    elif entry.is_hex:
        written = data.hex().upper().encode()
        units = len(data) if entry.unit == Unit.HEX_BYTES else len(written)
        if entry.code == Code.EBCDIC_HEX:
            written = from_ascii_text(dialect, written)
    else:
        written = from_ascii_text(dialect, data) if entry.code == Code.EBCDIC else data
    if entry.prefix == Prefix.FIXED:
        return written
    if entry.prefix == Prefix.BINARY:
        return units.to_bytes(entry.prefix_bytes, "big") + written
    if entry.prefix == Prefix.BCD:
        return bytes.fromhex(str(units).zfill(2 * entry.prefix_bytes)) + written
    text = str(units).zfill(entry.prefix_bytes).encode()
    return (from_ascii_text(dialect, text) if entry.prefix == Prefix.EBCDIC else text) + written


def is_lifted(field: Field) -> bool:
    """Return whether decoding leaves the use of a field to the look-up after it."""
    return field.use == Use.PARTIAL and field.format != "n"
