"""One field in plain Python: from a value to its bytes on the wire and back.

The canonical form of a value is what a person reads: characters and digits in ASCII whatever the
dialect writes, bytes as bytes. Slow on purpose; the kernels do the same to whole batches.
"""

from engine.wire.charset import ascii_of, byte_of
from engine.wire.dialect import Dialect
from engine.wire.elements import Code, Field, Prefix, Unit

_TRACK_NIBBLES = {"=": 13, "D": 13}
_OTHER_NIBBLE = 14  # of a character that BCD has not; a reader refuses it


def page_of(dialect: Dialect) -> str:
    """Return the dialect's code page: of its text, else the most common one."""
    return "cp037" if dialect.encoding.text == "ascii" else dialect.encoding.text


def to_ebcdic(dialect: Dialect, data: bytes) -> bytes:
    """Return ASCII in the dialect's code page."""
    return data.translate(bytes(byte_of(page_of(dialect))))


def to_ascii(dialect: Dialect, data: bytes) -> bytes:
    """Return text of the dialect's code page in ASCII; what is no ASCII becomes 0xFF."""
    return data.translate(bytes(ascii_of(page_of(dialect))))


def wire_data(dialect: Dialect, field: Field, value: str | bytes) -> bytes:
    """Return the data of a field on the wire, without a prefix.

    A ``str`` is characters or digits, and of a hex field the hex characters themselves; ``bytes``
    of a hex field are written in hex.
    """
    data = value.encode("ascii") if isinstance(value, str) else bytes(value)
    if field.is_hex and not isinstance(value, str):
        data = data.hex().upper().encode()
    if field.is_bcd:
        return _pack(dialect, field, data.decode("ascii", "replace"))
    if field.code in (Code.EBCDIC, Code.EBCDIC_HEX):
        return to_ebcdic(dialect, data)
    return data


def _pack(dialect: Dialect, field: Field, text: str) -> bytes:
    sign = b""
    if field.format == "x+n":
        sign, text = text[:1].encode("ascii", "replace"), text[1:]
        if dialect.encoding.text != "ascii":
            sign = to_ebcdic(dialect, sign)
    nibbles = [int(c) if c.isdigit() else _TRACK_NIBBLES.get(c, _OTHER_NIBBLE) for c in text]
    if len(nibbles) % 2:
        nibbles = [*nibbles, field.pad] if field.code == Code.BCD_LEFT else [field.pad, *nibbles]
    packed = bytes(16 * a + b for a, b in zip(nibbles[::2], nibbles[1::2], strict=True))
    return sign + packed


def wire_field(dialect: Dialect, field: Field, value: str | bytes, name: str) -> bytes:
    """Return a field on the wire, prefix and all.

    Raises
    ------
    ValueError
        Its length is none that the dialect allows; ``name`` says of what, the value is not told.
    """
    data = wire_data(dialect, field, value)
    units = len(data)
    if field.unit == Unit.DIGITS:
        units = len(value)
    elif field.unit == Unit.HEX_BYTES:
        units = len(data) // 2
    fits = units <= field.limit if field.prefix_bytes else units == field.limit
    if not fits:
        kind = "at most" if field.prefix_bytes else "exactly"
        what = "digits" if field.unit == Unit.DIGITS else "bytes"
        raise ValueError(f"{name}: {units} {what}, {kind} {field.limit} fit")
    return wire_prefix(dialect, field, units) + data


def wire_prefix(dialect: Dialect, field: Field, units: int) -> bytes:
    """Return the length prefix of a field that counts ``units``."""
    if field.prefix == Prefix.FIXED:
        return b""
    if field.prefix == Prefix.BINARY:
        return units.to_bytes(field.prefix_bytes, "big")
    if field.prefix == Prefix.BCD:
        return bytes.fromhex(f"{units:0{2 * field.prefix_bytes}d}")
    text = f"{units:0{field.prefix_bytes}d}".encode()
    return to_ebcdic(dialect, text) if field.prefix == Prefix.EBCDIC else text


def units_of(dialect: Dialect, field: Field, prefix: bytes) -> int:
    """Return what a length prefix counts, or a fixed field's length; -1 = it is no length."""
    if field.prefix == Prefix.FIXED:
        return field.limit
    if len(prefix) != field.prefix_bytes:
        return -1
    if field.prefix == Prefix.BINARY:
        return int.from_bytes(prefix, "big")
    text = prefix.hex() if field.prefix == Prefix.BCD else ""
    if field.prefix == Prefix.EBCDIC:
        prefix = to_ascii(dialect, prefix)
    if not text:
        text = "".join(map(chr, prefix))
    return int(text) if text.isascii() and text.isdigit() else -1


def wire_size(field: Field, units: int) -> int:
    """Return the bytes on the wire of a field that counts ``units``."""
    if field.unit == Unit.DIGITS:
        return (units + 1) // 2
    return 2 * units if field.unit == Unit.HEX_BYTES else units


def plain_data(dialect: Dialect, field: Field, data: bytes, units: int) -> bytes:
    """Return the data of a field in ASCII: characters, digits, hex; raw bytes as they are."""
    if field.is_bcd:
        return _unpack(dialect, field, data, units)
    if field.code in (Code.EBCDIC, Code.EBCDIC_HEX):
        return to_ascii(dialect, data)
    return data


def _unpack(dialect: Dialect, field: Field, data: bytes, units: int) -> bytes:
    sign = b""
    if field.format == "x+n":
        sign, data = data[:1], data[1:]
        if dialect.encoding.text != "ascii":
            sign = to_ascii(dialect, sign)
    text = data.hex().upper()
    digits = units if field.unit == Unit.DIGITS else len(text)
    if digits < len(text):
        text = text[:digits] if field.code == Code.BCD_LEFT else text[-digits:] if digits else ""
    elif field.unit != Unit.DIGITS and text.endswith("F"):
        text = text[:-1]
    if field.format == "z":
        text = text.replace("D", "=")
    return sign + text.encode()


def plain_value(dialect: Dialect, field: Field, data: bytes, units: int) -> str | bytes:
    """Return the value that ``wire_field`` writes as these bytes."""
    if field.code == Code.RAW:
        return data
    text = plain_data(dialect, field, data, units).decode("latin-1")
    return bytes.fromhex(text) if field.is_hex else text
