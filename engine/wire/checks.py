"""From the tables of a dialect file to its elements; whatever cannot be is refused by name.

Every function raises FileError with the keys that lead to the mistake.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from engine.decision import DEFAULT_RESPONSE, Decision
from engine.wire.dialect_file import (
    Encoding,
    FieldEntry,
    File,
    FileError,
    MessageEntry,
    PartsEntry,
    convert,
)
from engine.wire.elements import Code, Field, Message, Parts, Prefix, Presence, Tag, Unit
from engine.wire.profile import Profile, profile_row
from engine.wire.uses import CARD_USES, EITHER_LENGTH, SHAPES, Use

MAX_FRAME_BYTES = 32768  # spans are uint16 and an arena holds many frames
KEY_PARTS = ("acquirer", "forwarder", "transmitted", "stan", "terminal", "merchant", "rrn")
DEFAULT_KEY = KEY_PARTS[:5]
_LAST_FIELD, _LAST_TERTIARY = 128, 192
_FAULT_DIGITS = 3
_ID_DIGITS = 15  # of a lifecycle id, the most
_OF_MONEY = (1, 2, 4)  # classes of messages that name each other
_TPDU_BYTES, _VISA_HEADER_BYTES, _TEXT_BYTES = 5, 22, 16
_PREFIX_DIGITS = {"fixed": 0, "L": 1, "LL": 2, "LLL": 3, "LLLL": 4, "LLLLL": 5, "LLLLLL": 6}
_BINARY_PREFIX_BYTES = {1: 1, 2: 1, 3: 2, 4: 2, 5: 3, 6: 3}
_BINARY_CODE = {"raw": Code.RAW, "hex": Code.ASCII_HEX, "ebcdic-hex": Code.EBCDIC_HEX}
_DATA_CODE = {
    "ascii": Code.ASCII,
    "ebcdic": Code.EBCDIC,
    "bcd": Code.BCD,
    "bcd-left": Code.BCD_LEFT,
    **_BINARY_CODE,
}
_BCD_FORMATS = ("n", "z", "x+n")

Path = tuple[str, ...]


def check_framing(parsed: File) -> None:
    """Check the bounds of a frame and that its length can be written."""
    framing, encoding, path = parsed.framing, parsed.encoding, ("framing",)
    least = (2 if encoding.mti == "bcd" else 4) + (8 if encoding.bitmap == "binary" else 16)
    if not least <= framing.min_bytes <= framing.max_bytes <= MAX_FRAME_BYTES:
        raise FileError(
            path,
            f"{least} <= min_bytes <= max_bytes <= {MAX_FRAME_BYTES} must hold, "
            f"not min_bytes {framing.min_bytes}, max_bytes {framing.max_bytes}",
        )
    needed = {"none": 0, "tpdu": _TPDU_BYTES, "text": 1, "visa": _VISA_HEADER_BYTES}
    least = needed[framing.envelope]
    if not least <= framing.envelope_bytes <= 255 or (not least and framing.envelope_bytes):
        text = f"of kind {framing.envelope!r} has {least or 'no'} bytes or up to 255"
        raise FileError((*path, "envelope_bytes"), f"an envelope {text}")
    if not framing.envelope_text.isascii() or len(framing.envelope_text) > min(
        framing.envelope_bytes, _TEXT_BYTES
    ):
        raise FileError(
            (*path, "envelope_text"), f"ASCII, within the envelope, at most {_TEXT_BYTES}"
        )
    if framing.trailer and (len(framing.trailer) != 2 or not _is_hex(framing.trailer)):
        raise FileError((*path, "trailer"), f"{framing.trailer!r} is not one byte in hex")
    base = {"binary": 256, "ascii": 10, "bcd": 100}[framing.length]
    most = base**framing.header_bytes - 1
    whole = framing.max_bytes + framing.envelope_bytes + framing.header_bytes + 1
    if whole > most:
        raise FileError((*path, "max_bytes"), f"with the rest, {whole} bytes; {most} is the most")


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdefABCDEF" for c in text)


def fields_of(parsed: File) -> dict[int, Field]:
    """Return the data elements by number."""
    fields: dict[int, Field] = {}
    used: dict[Use, int] = {}
    last = _LAST_TERTIARY if parsed.encoding.tertiary else _LAST_FIELD
    for key, raw in parsed.fields.items():
        path = ("fields", key)
        number = _number(key, 2, last, path)
        if parsed.encoding.tertiary and number == 65:
            raise FileError(path, "with a tertiary bitmap, 65 says that it follows")
        entry = _field(number, convert(raw, FieldEntry, path), parsed.encoding, path)
        if entry.use == Use.LIFECYCLE:
            raise FileError(path, "use 'lifecycle' is of an element inside a field")
        if entry.use != Use.NONE and used.setdefault(entry.use, number) != number:
            other = used[entry.use]
            raise FileError(path, f"use {entry.use.name.lower()!r} is taken by {other}")
        fields[number] = entry
    _check_answer_fields(fields, parsed.version)
    return dict(sorted(fields.items()))


def _number(key: str, least: int, most: int, path: Path) -> int:
    if not key.isascii() or not key.isdigit() or key[0] == "0" or not least <= int(key) <= most:
        raise FileError(path, f"a field is numbered {least} to {most}")
    return int(key)


def _field(number: int, entry: FieldEntry, encoding: Encoding, path: Path) -> Field:
    use = _use(entry, path)
    code = _code(entry, encoding, path)
    digits = _PREFIX_DIGITS[entry.length]
    prefix = Prefix[(entry.prefix or encoding.length).upper()] if digits else Prefix.FIXED
    counts = entry.counts or encoding.counts
    size, limit, unit = _sizes(entry, code, counts=counts, is_fixed=not digits)
    most = _most(digits, prefix)
    if entry.format == "x+n" and (digits or entry.max > 18):
        raise FileError(path, "format 'x+n' is fixed and has at most 18 digits")
    if not 1 <= limit <= most:
        raise FileError(path, f"max {entry.max} is not a length of 1 to {most} on the wire")
    return Field(
        number=number,
        name=entry.name,
        format=entry.format,
        prefix_digits=digits,
        size=size,
        sensitivity=entry.sensitivity,
        use=use,
        code=code,
        prefix=prefix,
        prefix_bytes=_prefix_bytes(digits, prefix),
        unit=unit,
        limit=limit,
        pad=int(entry.pad or encoding.pad, 16),
    )


def _use(entry: FieldEntry, path: Path) -> Use:
    if entry.use not in {use.name.lower() for use in Use}:
        raise FileError(path, f"unknown use {entry.use!r}")
    use = Use[entry.use.upper()]
    is_digit = (entry.format, entry.length, entry.max) == ("n", "fixed", 1)
    if use == Use.PARTIAL and not is_digit and entry.format not in ("an", "ans"):
        raise FileError(path, "use 'partial' needs a field n fixed 1, or an/ans")
    shape = SHAPES.get(use)
    if shape is None:
        return use
    is_fixed = entry.length == "fixed"
    fits = entry.max <= shape.largest and (not shape.is_fixed or entry.max >= shape.least)
    right_length = is_fixed == shape.is_fixed or use in EITHER_LENGTH
    if entry.format not in shape.formats or not right_length or not fits:
        kind = "fixed" if shape.is_fixed else "with a length, up to"
        wanted = f"{'/'.join(shape.formats)} {kind} {shape.largest}"
        raise FileError(path, f"use {entry.use!r} needs a field {wanted}")
    return use


def _code(entry: FieldEntry, encoding: Encoding, path: Path) -> Code:
    text = Code.ASCII if encoding.text == "ascii" else Code.EBCDIC
    if entry.code:
        code = _DATA_CODE[entry.code]
    elif entry.format == "b":
        code = _BINARY_CODE[encoding.binary]
    elif entry.format in _BCD_FORMATS and encoding.digits != "text":
        code = _DATA_CODE[encoding.digits]
    else:
        code = text
    is_bytes = code in (Code.RAW, Code.ASCII_HEX, Code.EBCDIC_HEX)
    if is_bytes != (entry.format == "b"):
        raise FileError(path, f"format {entry.format!r} cannot be written as {code.name.lower()}")
    if code in (Code.BCD, Code.BCD_LEFT) and entry.format not in _BCD_FORMATS:
        raise FileError(path, f"format {entry.format!r} is not of digits: no bcd")
    return code


def _sizes(entry: FieldEntry, code: Code, *, counts: str, is_fixed: bool) -> tuple[int, int, Unit]:
    """Return (bytes on the wire, the same as its length counts it, unit of that)."""
    sign = entry.format == "x+n"
    if code in (Code.BCD, Code.BCD_LEFT):
        size = (entry.max + 1) // 2 + sign
        if sign or (counts == "bytes" and not is_fixed):
            return size, size, Unit.BYTES
        return size, entry.max, Unit.DIGITS
    if code in (Code.ASCII_HEX, Code.EBCDIC_HEX):
        size = 2 * entry.max
        return (
            (size, size, Unit.BYTES)
            if counts == "characters"
            else (size, entry.max, Unit.HEX_BYTES)
        )
    return entry.max + sign, entry.max + sign, Unit.BYTES


def _most(digits: int, prefix: Prefix) -> int:
    if not digits:
        return 999
    if prefix == Prefix.BINARY:
        return min(256 ** _BINARY_PREFIX_BYTES[digits] - 1, MAX_FRAME_BYTES)
    return min(10**digits - 1, MAX_FRAME_BYTES)


def _prefix_bytes(digits: int, prefix: Prefix) -> int:
    if prefix == Prefix.BINARY:
        return _BINARY_PREFIX_BYTES[digits]
    return (digits + 1) // 2 if prefix == Prefix.BCD else digits


def _check_answer_fields(fields: Mapping[int, Field], version: int) -> None:
    """Every answer writes 39, an approval 38: both must have the size that the encoder writes."""
    for number, sizes in ((38, (6,)), (39, (2,) if version == 1987 else (2, 3, 4))):
        found = fields.get(number)
        wrong = found is None or found.prefix_digits or found.format == "b"
        if wrong or found is None or found.limit not in sizes:
            wanted = " or ".join(map(str, sizes))
            raise FileError(("fields", str(number)), f"must be an, fixed, max {wanted}")
    if Use.STAN not in {f.use for f in fields.values()}:
        raise FileError(("fields",), 'no field has use = "stan"')


def parts_of(parsed: File, fields: Mapping[int, Field]) -> dict[int, Parts]:
    """Return how fields are divided, by field."""
    parts: dict[int, Parts] = {}
    for key, raw in parsed.parts.items():
        path = ("parts", key)
        number = _number(key, 2, _LAST_TERTIARY, path)
        if number not in fields:
            raise FileError(path, f"field {number} is not in the dialect")
        parts[number] = _parts(fields[number], convert(raw, PartsEntry, path), parsed, path)
    return parts


def _parts(field: Field, entry: PartsEntry, parsed: File, path: Path) -> Parts:
    if field.is_bcd:
        raise FileError(path, "a field of BCD digits has no parts")
    of_bytes = entry.kind in ("tlv", "dataset", "bitmap")
    if entry.kind in ("tlv", "dataset") and field.format != "b":
        raise FileError(path, f"kind {entry.kind!r} needs a field of format b")
    if entry.kind in ("pds", "se", "named") and field.format == "b":
        raise FileError(path, f"kind {entry.kind!r} needs a field of characters")
    if not 1 <= entry.bitmap_bytes <= 8 or not 0 <= entry.lead <= 16:
        raise FileError(path, "bitmap_bytes is 1 to 8, lead 0 to 16")
    if of_bytes and field.is_hex and entry.kind == "bitmap":
        raise FileError(path, "a nested bitmap needs a field of raw bytes")
    if bool(entry.fields) != (entry.kind in ("bitmap", "positional")) and entry.kind != "se":
        raise FileError(path, "fields belong to the kinds bitmap and positional")
    inner: dict[int, Field] = {}
    for key, raw in entry.fields.items():
        where = (*path, "fields", key)
        number = _number(key, 1, 64, where)
        inner[number] = _field(number, convert(raw, FieldEntry, where), parsed.encoding, where)
        _check_inner_use(inner[number], where)
    if sum(field.use == Use.LIFECYCLE for field in inner.values()) > 1:
        raise FileError(path, "use 'lifecycle' is given twice")
    tags = {
        tag.upper(): Tag(t.name, t.sensitivity, _tag_use(tag, t.use, entry.kind, path))
        for tag, t in entry.tags.items()
    }
    return Parts(
        kind=entry.kind,
        bitmap_bytes=entry.bitmap_bytes,
        lead=entry.lead,
        fields=MappingProxyType(dict(sorted(inner.items()))),
        tags=MappingProxyType(tags),
    )


def _check_inner_use(field: Field, path: Path) -> None:
    is_id = field.use == Use.LIFECYCLE and not field.prefix_digits and field.limit <= _ID_DIGITS
    if field.use != Use.NONE and not (field.format == "n" and (field.use == Use.PARTIAL or is_id)):
        wanted = f"partial of a field n fixed 1, or lifecycle of one n fixed, up to {_ID_DIGITS}"
        raise FileError(path, f"inside a field, use is none, {wanted}")


def _tag_use(tag: str, name: str, kind: str, path: Path) -> Use:
    """Return what is read in an element: only whether a part is taken, of numbered elements."""
    where = (*path, "tags", tag)
    if name not in ("none", "partial"):
        raise FileError(where, "of a tag, use is none or partial")
    if name == "partial" and not (kind in ("se", "pds") and tag.isascii() and tag.isdigit()):
        raise FileError(where, "only an element of kind se or pds has a use")
    return Use[name.upper()]


def messages_of(parsed: File, fields: Mapping[int, Field]) -> dict[int, Message]:
    """Return the messages by MTI without its version, repeats included."""
    messages: dict[int, Message] = {}
    for key, raw in parsed.messages.items():
        path = ("messages", key)
        message = _message(key, convert(raw, MessageEntry, path), parsed, fields)
        for mti in (message.mti, *message.repeats):
            if mti in messages:
                raise FileError(path, f"{mti:04d} is described twice")
            messages[mti] = message
    _check_keys(messages)
    return messages


def _check_keys(messages: Mapping[int, Message]) -> None:
    """A reversal finds its original by the same parts that make two payments one."""
    first = None
    for mti, message in messages.items():
        if mti // 100 not in _OF_MONEY:
            continue
        first = first or message
        if set(message.key) != set(first.key):
            text = f"must be as of {first.mti:04d}: one message finds the other by it"
            raise FileError(("messages", f"{mti:04d}", "key"), text)


def _message(key: str, entry: MessageEntry, parsed: File, fields: Mapping[int, Field]) -> Message:
    path = ("messages", key)
    by_pcode = {}
    for pair, changed in entry.pcode.items():
        where = (*path, "pcode", pair)
        if len(pair) != 2 or not pair.isascii() or not pair.isdigit():
            raise FileError(where, f"{pair!r} is not the first two digits of DE3")
        needs_pan = entry.pan if changed.pan is None else changed.pan
        by_pcode[int(pair)] = _presence(changed.mandatory, fields, needs_pan=needs_pan, path=where)
    presence = _presence(entry.mandatory, fields, needs_pan=entry.pan, path=path)
    names = DEFAULT_KEY if entry.key is None else entry.key
    for name in names:
        if name not in KEY_PARTS:
            raise FileError((*path, "key"), f"{name!r} is not one of {', '.join(KEY_PARTS)}")
    if not 0 <= entry.deadline_ms <= 600_000:
        raise FileError((*path, "deadline_ms"), "0 to 600000 milliseconds")
    return Message(
        mti=_request_mti(key, parsed.version, path),
        repeats=tuple(_request_mti(r, parsed.version, (*path, "repeats")) for r in entry.repeats),
        mandatory=presence.mandatory,
        needs_pan=presence.needs_pan,
        echo=echo_of(entry.echo, fields, path),
        by_pcode=MappingProxyType(by_pcode),
        key=tuple(names),
        deadline_ms=entry.deadline_ms,
    )


def _presence(
    numbers: Iterable[int], fields: Mapping[int, Field], *, needs_pan: bool, path: Path
) -> Presence:
    for number in numbers:
        if number not in fields or number > _LAST_FIELD:
            raise FileError(path, f"mandatory field {number} is not in the dialect")
    if needs_pan and CARD_USES.isdisjoint(f.use for f in fields.values()):
        raise FileError(path, "pan = true, but no field has use pan, track1 or track2")
    return Presence(tuple(sorted(set(numbers))), needs_pan)


def _request_mti(text: str, version: int, path: Path) -> int:
    digit = {1987: "0", 1993: "1", 2003: "2"}[version]
    if len(text) != 4 or not text.isascii() or not text.isdigit() or int(text[2]) % 2:
        raise FileError(path, f"{text!r} is not the MTI of a request (four digits, xxEx)")
    if text[0] != digit:
        raise FileError(path, f"{text!r} is not of version {version}: {digit}xxx")
    return int(text[1:])


def echo_of(numbers: Iterable[int], fields: Mapping[int, Field], path: Path) -> tuple[int, ...]:
    """Return the fields that come back, in order."""
    for number in numbers:
        found = fields.get(number)
        if found is None or number > _LAST_FIELD:
            raise FileError(path, f"echo field {number} is not in the dialect")
        if number in (38, 39):
            raise FileError(path, f"echo field {number} is written by the engine")
        if found.sensitivity not in ("public", "pan"):
            raise FileError(path, f"echo field {number} is {found.sensitivity} data")
    return tuple(sorted(set(numbers)))


def codes_of(
    parsed: File, fields: Mapping[int, Field]
) -> tuple[dict[Decision, str], dict[str, str]]:
    """Return DE39 by decision, two characters each, and what stands for it in a wider DE39."""
    codes = dict(DEFAULT_RESPONSE)
    for name, code in parsed.response_codes.items():
        path = ("response_codes", name)
        if name not in Decision.__members__:
            raise FileError(path, "no such decision")
        _check_code(code, 2, path)
        codes[Decision[name]] = code
    width = fields[39].limit
    if (width > 2) != bool(parsed.action_codes):
        raise FileError(("action_codes",), "wanted where DE39 is wider than two, and only there")
    for name, code in parsed.action_codes.items():
        path = ("action_codes", name)
        kind, _, plain = name.rpartition(":")
        if name not in Decision.__members__ and name != "default":
            _check_code(plain, 2, path)
            if kind and (len(kind) != 1 or not kind.isdigit()):
                raise FileError(path, f"{kind!r} is not the class of a message: 1 to 8")
        _check_code(code, width, path)
    if width > 2 and "default" not in parsed.action_codes:
        raise FileError(("action_codes",), "default: what stands for a code without an entry")
    return codes, dict(parsed.action_codes)


def _check_code(code: str, width: int, path: Path) -> None:
    if len(code) != width or not code.isascii() or not code.isalnum():
        count = {2: "two letters or digits", 3: "three digits", 4: "four digits"}[width]
        raise FileError(path, f"{code!r} is not {count}")


def profile_of(parsed: File, fields: Mapping[int, Field]) -> tuple[int, ...]:
    """Return the switches in order of ``Profile``."""
    try:
        row = tuple(profile_row(parsed.profile))
    except KeyError as error:
        name = str(error.args[0])
        raise FileError(("profile", name), "no such switch") from None
    except ValueError as error:
        name, _, reason = str(error).partition(": ")
        raise FileError(("profile", name), reason) from None
    named = fields.get(row[Profile.FORMAT_FIELD])
    if row[Profile.FORMAT_FIELD] and (named is None or named.size < _FAULT_DIGITS):
        number = row[Profile.FORMAT_FIELD]
        raise FileError(("profile", "format_field"), f"field {number} has no room for three digits")
    return row
