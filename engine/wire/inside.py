"""What stands inside a field, for people: each element with its place, name and masked value.

The field is known to be whole: ``structure_kernels`` has seen it. What nobody declared is hidden.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from engine.wire.canon import plain_data, to_ascii, units_of, wire_size
from engine.wire.dialect import Dialect
from engine.wire.elements import Code, Field, Parts
from engine.wire.masking import HIDDEN, mask_value

_DATASETS_OF_TLV = 0x70


@dataclass(frozen=True, slots=True)
class PartLine:
    """One element inside a field. ``offset`` and ``length`` are of its data, from the MTI."""

    label: str  # 48.61, 55.9F26, 62.2
    name: str
    offset: int
    length: int
    shown: str


def lines_of_parts(
    dialect: Dialect, number: int, message: bytes, at: int, end: int
) -> list[PartLine]:
    """Return the elements of field ``number``, whose data are ``message[at:end]``."""
    parts = dialect.parts.get(number)
    if parts is None:
        return []
    field = dialect.fields[number]
    if parts.kind in ("tlv", "dataset"):
        data = plain_data(dialect, field, message[at:end], end - at)
        data = bytes.fromhex(data.decode("ascii")) if field.is_hex else data
        step = 2 if field.is_hex else 1
        found = _tlv(data, 0, len(data)) if parts.kind == "tlv" else _datasets(data)
        return [
            _tag_line(parts, number, tag, data[a:b], at + a * step, step) for tag, a, b in found
        ]
    if parts.kind in ("pds", "se", "named"):
        text = to_ascii(dialect, message[at:end]) if field.code == Code.EBCDIC else message[at:end]
        return [
            _tag_line(parts, number, tag, text[a:b], at + a, 1)
            for tag, a, b in _tagged(text, parts.lead, parts.kind)
        ]
    return list(_fields(dialect, parts, number, message, at, end))


def _tag_line(parts: Parts, number: int, tag: str, data: bytes, at: int, step: int) -> PartLine:
    known = parts.tags.get(tag.rpartition(".")[2])  # a tag inside a dataset too
    is_bytes = parts.kind in ("tlv", "dataset")
    shown = HIDDEN
    if known is not None and known.sensitivity == "public":
        shown = data.hex().upper() if is_bytes else data.decode("ascii", "backslashreplace")
    name = "unknown" if known is None else known.name
    return PartLine(f"{number}.{tag}", name, at, len(data) * step, shown)


def _tlv(data: bytes, at: int, end: int, prefix: str = "") -> Iterator[tuple[str, int, int]]:
    while at < end:
        if data[at] == 0:
            at += 1
            continue
        begin = at
        at += 1
        if data[begin] & 31 == 31:
            while data[at] & 128:
                at += 1
            at += 1
        tag = data[begin:at].hex().upper()
        size, at = data[at], at + 1
        if size > 128:
            count = size - 128
            size, at = int.from_bytes(data[at : at + count], "big"), at + count
        yield f"{prefix}{tag}", at, at + size
        at += size


def _datasets(data: bytes) -> Iterator[tuple[str, int, int]]:
    at = 0
    while at < len(data):
        number, size = data[at], int.from_bytes(data[at + 1 : at + 3], "big")
        at += 3
        if number <= _DATASETS_OF_TLV:
            yield from _tlv(data, at, at + size, f"{number:02X}.")
        else:
            yield f"{number:02X}", at, at + size
        at += size


def _tagged(text: bytes, at: int, kind: str) -> Iterator[tuple[str, int, int]]:
    tag, width = (4, 3) if kind == "pds" else (2, 2)
    while at < len(text):
        if kind == "named":
            name_at, name_end = _counted(text, at)
            at, end = _counted(text, name_end)
            label = text[name_at:name_end].decode("ascii", "replace")
        else:
            label = text[at : at + tag].decode("ascii", "replace")
            at += tag + width
            end = at + int(text[at - width : at])
        yield label, at, end
        at = end


def _counted(text: bytes, at: int) -> tuple[int, int]:
    digits = int(text[at : at + 1])
    begin = at + 1 + digits
    return begin, begin + int(text[at + 1 : begin])


def _fields(
    dialect: Dialect, parts: Parts, number: int, message: bytes, at: int, end: int
) -> Iterator[PartLine]:
    wanted = list(parts.fields.values())
    if parts.kind == "bitmap":
        bits = "".join(f"{byte:08b}" for byte in message[at : at + parts.bitmap_bytes])
        wanted = [parts.fields[k + 1] for k, bit in enumerate(bits) if bit == "1"]
        at += parts.bitmap_bytes
    for inner in wanted:
        if at >= end:
            break
        line, at = _inner(dialect, number, inner, message, at)
        yield line


def _inner(
    dialect: Dialect, number: int, inner: Field, message: bytes, at: int
) -> tuple[PartLine, int]:
    units = units_of(dialect, inner, message[at : at + inner.prefix_bytes])
    at += inner.prefix_bytes
    after = at + wire_size(inner, units)
    shown = mask_value(inner, plain_data(dialect, inner, message[at:after], units))
    return PartLine(f"{number}.{inner.number}", inner.name, at, after - at, shown), after
