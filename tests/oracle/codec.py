"""ISO 8583 messages read and written in plain Python: oracle of the codec kernels.

Written from the description of the wire, a dictionary and byte strings at a time. ``decode``
returns the columns of REQUEST that depend on the message, the fields that were valid, and the
block for the card token.
"""

import string
from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.wire.columns import Fault
from engine.wire.dialect import Dialect, Use
from engine.wire.profile import SWITCHES, Profile
from tests.oracle import codec_fields
from tests.oracle.codec_fields import Read, ascii_text, from_ascii_text, read_field, write_field
from tests.oracle.codec_parts import wrong_part
from tests.oracle.siphash import siphash

Reject = Callable[[Use], None]
DIGITS = string.digits.encode()
INTEGERS = {
    Use.AMOUNT: "amount",
    Use.BILLING_AMOUNT: "billing_amount",
    Use.ACQUIRER: "acquirer",
    Use.FORWARDER: "forwarder",
    Use.TRANSMITTED: "transmitted",
    Use.PCODE: "pcode",
    Use.STAN: "stan",
    Use.LOCAL_TIME: "local_time",
    Use.LOCAL_DATE: "local_date",
    Use.EXPIRY: "expiry_yymm",
    Use.MCC: "mcc",
    Use.COUNTRY: "country",
    Use.ENTRY_MODE: "entry_mode",
    Use.CONDITION: "condition",
    Use.CURRENCY: "currency",
    Use.BILLING_CURRENCY: "billing_currency",
    Use.NETWORK_CODE: "network_code",
    Use.FUNCTION: "function",
    Use.REASON: "reason",
    Use.PARTIAL: "partial",
}
ABSENT_ZERO = (
    *("terminal", "merchant", "rrn_a", "rrn_b", "transmitted", "original_transmitted"),
    *("pan_length", "bin", "luhn", "fault", "fault_field", "fault_offset"),
    *("approval", "deadline_ms", "lifecycle"),
)
ABSENT_MINUS = (
    *("replacement_amount", "original_acquirer", "original_forwarder"),
    *("original_mti", "original_stan", "mti", "original_amount"),
)
KEY_NAMES = ("acquirer", "forwarder", "transmitted", "stan", "terminal", "merchant", "rrn")
ENTRY_OF_INPUT = {
    **dict.fromkeys("16", 10), **dict.fromkeys("AMP", 70), **dict.fromkeys("5C", 50),
    **dict.fromkeys("STUV", 810), "2": 20, "3": 30, "4": 40, "7": 100, "B": 900,
}  # fmt: skip
CONDITION_OF_PRESENCE = {"1": 1, "2": 8, "3": 8, "4": 8, "5": 59, "S": 59}


@dataclass
class Decoded:
    """What one message says."""

    columns: dict[str, int]
    fields: dict[int, tuple[int, int]] = field(default_factory=dict)  # offset, length
    texts: dict[int, bytes] = field(default_factory=dict)  # in ASCII, or raw
    pan: bytes = b""
    faults: list[tuple[int, int, int]] = field(default_factory=list)  # field, fault, offset

    def block(self) -> bytes:
        """Return the 16 bytes that the token is made of."""
        nibbles = self.pan.decode() + "F" * (20 - len(self.pan))
        return bytes([len(self.pan)]) + bytes.fromhex(nibbles) + b"de39\x01"


def decode(dialect: Dialect, message: bytes, key: tuple[int, int]) -> Decoded:
    """Read one message (no length header)."""
    columns = dict.fromkeys([*INTEGERS.values(), *ABSENT_MINUS], -1)
    columns |= dict.fromkeys(ABSENT_ZERO, 0)
    result = Decoded(columns)
    columns["key_bits"] = 31
    mti = _mti(dialect, message)
    if mti is None:
        result.faults.append((0, Fault.MTI, 0))
        return _settle(dialect, message, result)
    columns["mti"] = mti
    numbers, at = _bitmaps(dialect, message, result)
    if at is not None:
        at = _fields(dialect, message, numbers, at, result)
    _values(dialect, message, result, key)
    if at is not None and at != len(message) and not result.faults:
        result.faults.append((0, Fault.TRAILING, at))
    return _settle(dialect, message, result)


def _mti_size(dialect: Dialect) -> int:
    return 2 if dialect.encoding.mti == "bcd" else 4


def _mti(dialect: Dialect, message: bytes) -> int | None:
    """Return the MTI as seen from the dialect's version, or None."""
    size = _mti_size(dialect)
    head = message[:size]
    if len(head) < size:
        return None
    text = head.hex().encode() if dialect.encoding.mti == "bcd" else head
    if dialect.encoding.mti == "ebcdic":
        text = ascii_text(dialect, head)
    if any(c not in DIGITS for c in text):
        return None
    version = (int(text[:1]) - dialect.version) % 10
    if version and switch(dialect, Profile.UNSUPPORTED_VERSION) == "drop":
        return None
    return version * 1000 + int(text[1:])


def switch(dialect: Dialect, name: Profile) -> str | int:
    """Return a switch of the dialect's profile as its file writes it."""
    value = dialect.profile[name]
    return SWITCHES[name].choices[value] if SWITCHES[name].kind == "choice" else value


def _settle(dialect: Dialect, message: bytes, result: Decoded) -> Decoded:
    if not result.faults:
        missing = _missing(dialect, result)
        if missing:
            result.faults.append((missing, Fault.MISSING, len(message)))
    if result.faults:
        number, fault, offset = min(result.faults)
        result.columns |= {"fault": fault, "fault_field": number, "fault_offset": offset}
    high = sum(1 << (64 - n) for n in result.fields if n <= 64)
    low = sum(1 << (128 - n) for n in result.fields if 64 < n <= 128)
    third = sum(1 << (192 - n) for n in result.fields if n > 128)
    result.columns |= {"bitmap_hi": high, "bitmap_lo": low, "bitmap_third": third}
    rule = dialect.messages.get(result.columns["mti"])
    if rule is not None:
        result.columns["deadline_ms"] = rule.deadline_ms
        result.columns["key_bits"] = sum(1 << KEY_NAMES.index(n) for n in rule.key)
    return result


def _missing(dialect: Dialect, result: Decoded) -> int:
    rule = dialect.messages.get(result.columns["mti"])
    if rule is None:
        return 0
    mandatory, needs_pan = rule.mandatory, rule.needs_pan
    presence = rule.by_pcode.get(result.columns["pcode"] // 10_000)
    if result.columns["pcode"] >= 0 and presence is not None:
        mandatory, needs_pan = presence.mandatory, presence.needs_pan
    missing = [n for n in mandatory if n not in result.fields]
    if needs_pan and not result.pan:
        missing.append(dialect.field_of(Use.PAN) or 2)
    return min(missing, default=0)


def _bitmaps(dialect: Dialect, message: bytes, result: Decoded) -> tuple[list[int], int | None]:
    is_hex = dialect.encoding.bitmap != "binary"
    width = 16 if is_hex else 8
    numbers: list[int] = []
    at = _mti_size(dialect)
    for part in range(3 if dialect.encoding.tertiary else 2):
        blamed = (0, 1, 65)[part]
        chunk = message[at : at + width]
        wrong = len(chunk) < width
        text = ascii_text(dialect, chunk) if dialect.encoding.bitmap == "ebcdic-hex" else chunk
        if is_hex and not wrong and any(c not in string.hexdigits.encode() for c in text):
            result.faults.append((blamed, Fault.BITMAP, at))
            return _without_flags(dialect, numbers), (at + width if part else None)
        if wrong:
            result.faults.append((blamed, Fault.BITMAP, at))
            return _without_flags(dialect, numbers), None
        word = int(text, 16) if is_hex else int.from_bytes(chunk, "big")
        numbers += [64 * part + i + 1 for i in range(64) if word >> (63 - i) & 1]
        at += width
        if 64 * part + 1 not in numbers:
            break
    return _without_flags(dialect, numbers), at


def _without_flags(dialect: Dialect, numbers: list[int]) -> list[int]:
    """Return the data elements: bit 1 (and 65, with a tertiary bitmap) announce a bitmap."""
    return [n for n in numbers if n != 1 and not (n == 65 and dialect.encoding.tertiary)]


def _fields(
    dialect: Dialect, message: bytes, numbers: list[int], at: int, result: Decoded
) -> int | None:
    for number in numbers:
        entry = dialect.fields.get(number)
        if entry is None:
            result.faults.append((number, Fault.BITMAP, at))
            return None
        read = read_field(dialect, entry, message, at)
        if read is None:
            result.faults.append((number, Fault.LENGTH, at))
            return None
        bad, fault = read.bad_at, Fault.CHARSET
        if bad is None and number in dialect.parts:
            bad, told = wrong_part(dialect, number, message[: read.end], read.begin)
            fault = Fault.STRUCTURE
            if bad is None:
                result.columns |= told
        if bad is None:
            _note(result, number, read)
        else:
            result.faults.append((number, fault, bad))
        at = read.end
    return at


def _note(result: Decoded, number: int, read: Read) -> None:
    result.fields[number] = (read.begin, read.end - read.begin)
    result.texts[number] = read.text


def _values(dialect: Dialect, message: bytes, result: Decoded, key: tuple[int, int]) -> None:
    columns = result.columns
    read = [(dialect.fields[number], text) for number, text in result.texts.items()]
    found: dict[Use, bytes] = {f.use: text for f, text in read if not codec_fields.is_lifted(f)}

    def reject(use: Use) -> None:
        number = dialect.field_of(use)
        at, _ = result.fields.pop(number)
        result.faults.append((number, Fault.VALUE, at))

    for use, column in INTEGERS.items():
        text = found.get(use, b"")
        if text and not (text.isdigit() and _possible(use, text.decode())):
            reject(use)
        elif text:
            columns[column] = int(text)
    if Use.RRN in found:
        columns["rrn_a"] = int.from_bytes(found[Use.RRN][:8], "little")
        columns["rrn_b"] = int.from_bytes(found[Use.RRN][8:], "little")
    if Use.TERMINAL in found:
        text = found[Use.TERMINAL]
        text = text[:8] + text[8:].rstrip(b" ")
        columns["terminal"] = int.from_bytes(text[-8:], "little")
    if Use.APPROVAL in found:
        columns["approval"] = int.from_bytes(found[Use.APPROVAL], "little")
    if Use.MERCHANT in found:
        acquirer = columns["acquirer"].to_bytes(8, "little", signed=True)
        columns["merchant"] = siphash(*key, found[Use.MERCHANT] + acquirer) or 1
    _original(dialect, result, found, reject)
    if dialect.version:
        _later(dialect, result, found, reject)
    if dialect.version and not dialect.field_of(Use.NETWORK_CODE):
        is_network = columns["mti"] // 100 % 10 == 8
        columns["network_code"] = columns["function"] if is_network else -1
    columns["network_code"] = _network_code(dialect, columns["network_code"])
    _card(result, found, reject)


def _network_code(dialect: Dialect, code: int) -> int:
    names = (Profile.SIGN_ON, Profile.SIGN_OFF, Profile.ECHO_TEST, Profile.KEY_CHANGE)
    own = {dialect.profile[n]: c for n, c in zip(names, (1, 2, 301, 161), strict=True)}
    own.setdefault(dialect.profile[Profile.CUT_OVER], 201)
    if set(own) == {1, 2, 301, 161, 201} or code < 0:
        return code
    return own.get(code, 1000 + code)


def _later(dialect: Dialect, result: Decoded, found: dict[Use, bytes], reject: Reject) -> None:
    """What 1993 and 2003 have otherwise."""
    columns = result.columns
    if Use.LOCAL_MOMENT in found:
        moment = found[Use.LOCAL_MOMENT].decode()[-10:]
        if _moment(moment):
            columns["local_date"], columns["local_time"] = int(moment[:4]), int(moment[4:])
            if not dialect.field_of(Use.TRANSMITTED):
                columns["transmitted"] = int(moment)
        else:
            reject(Use.LOCAL_MOMENT)
    if Use.POS_CODES in found:
        codes = found[Use.POS_CODES].decode()
        columns["entry_mode"] = ENTRY_OF_INPUT.get(codes[6], 0)
        columns["condition"] = CONDITION_OF_PRESENCE.get(codes[4], 0)
    if Use.POS_BITS in found:
        columns |= _pos_bits(found[Use.POS_BITS])
    if Use.ORIGINAL_AMOUNT in found:
        columns["original_amount"] = int(found[Use.ORIGINAL_AMOUNT][:12])
    if Use.AMOUNT_AND_CURRENCY in found:
        text = found[Use.AMOUNT_AND_CURRENCY]
        columns["currency"], columns["amount"] = int(text[:3]), int(text[4:])
    if Use.BILLING_AND_CURRENCY in found:
        text = found[Use.BILLING_AND_CURRENCY]
        columns["billing_currency"], columns["billing_amount"] = int(text[:3]), int(text[4:])
    if Use.ORIGINAL_LOCAL in found and not _original_local(dialect, result, found):
        reject(Use.ORIGINAL_LOCAL)


def _pos_bits(flags: bytes) -> dict[str, int]:
    methods = ((0, 0x20, 50), (0, 2, 70), (0, 0x10, 20), (0, 0x40, 100), (0, 8, 30), (0, 4, 10))
    entry = next((value for byte, bit, value in methods if flags[byte] & bit), 0)
    if entry == 20 and flags[1] & 8:
        entry = 800
    condition = 59 if flags[8] & 0x18 else 8 if flags[8] & 0x24 else 0
    return {"entry_mode": entry, "condition": condition}


def _original_local(dialect: Dialect, result: Decoded, found: dict[Use, bytes]) -> bool:
    text = found[Use.ORIGINAL_LOCAL].decode()
    own = dialect.field_of(Use.LOCAL_MOMENT)
    stan = dialect.fields[dialect.field_of(Use.STAN)].limit
    head = 4 + stan + (dialect.fields[own].limit if own else 12)
    moment, acquirer = text[head - 10 : head], text[head + 2 * (dialect.version == 1) :]
    sound = len(text) >= head and text[: 4 + stan].isdigit() and moment.isdigit()
    if not sound or not (int(moment) == 0 or _moment(moment)):
        return False
    if len(text) > head:
        size = text[head : head + 2]
        if dialect.version == 1 and not (size.isdigit() and int(size) == len(acquirer)):
            return False
        if not 1 <= len(acquirer) <= 11:
            return False
        if not acquirer.isdigit():
            return False
    result.columns["original_mti"] = _of_version(dialect, int(text[:4]))
    result.columns["original_stan"] = int(text[4 : 4 + stan])
    result.columns["original_transmitted"] = int(moment)
    result.columns["original_acquirer"] = int(acquirer) if acquirer else -1
    return True


def _of_version(dialect: Dialect, mti: int) -> int:
    return (mti // 1000 - dialect.version) % 10 * 1000 + mti % 1000


def _original(dialect: Dialect, result: Decoded, found: dict[Use, bytes], reject: Reject) -> None:
    columns = result.columns
    if Use.REPLACEMENT in found:
        if found[Use.REPLACEMENT][:12].isdigit():
            columns["replacement_amount"] = int(found[Use.REPLACEMENT][:12])
        else:
            reject(Use.REPLACEMENT)
    if Use.ORIGINAL in found:
        text = found[Use.ORIGINAL].decode()
        moment = text[10:20]
        if not text.isdigit() or not (int(moment) == 0 or _moment(moment)):
            reject(Use.ORIGINAL)
            return
        columns["original_mti"] = _of_version(dialect, int(text[:4]))
        columns["original_stan"] = int(text[4:10])
        columns["original_transmitted"] = int(moment)
        columns["original_acquirer"] = int(text[20:31])
        columns["original_forwarder"] = int(text[31:])


def _card(result: Decoded, found: dict[Use, bytes], reject: Reject) -> None:
    columns = result.columns
    result.pan = found.get(Use.PAN, b"")
    tracks = [(Use.TRACK2, _track2)]
    if found.get(Use.TRACK1, b"").startswith(b"B"):
        tracks.append((Use.TRACK1, _track1))
    for use, read in tracks:
        if use not in found:
            continue
        track = read(found[use])
        agrees = track is not None and result.pan in (b"", track[0])
        if agrees and track[1] >= 0 and columns["expiry_yymm"] not in (-1, track[1]):
            agrees = False
        if not agrees:
            reject(use)
            continue
        result.pan = track[0]
        if track[1] >= 0:
            columns["expiry_yymm"] = track[1]
    if not result.pan:
        return
    columns["pan_length"] = len(result.pan)
    columns["bin"] = int(result.pan[:6]) if len(result.pan) >= 6 else 0
    total = 0
    for k, char in enumerate(reversed(result.pan.decode())):
        digit = int(char) * (1 + k % 2)
        total += digit // 10 + digit % 10
    columns["luhn"] = int(total % 10 == 0)


def _track2(data: bytes) -> tuple[bytes, int] | None:
    pan, separator, rest = data.replace(b"D", b"=").partition(b"=")
    return _track(pan, rest) if separator else None


def _track1(data: bytes) -> tuple[bytes, int] | None:
    parts = data[1:].split(b"^", 2)
    return _track(parts[0], parts[2].replace(b"D", b"=")) if len(parts) == 3 else None


def _track(pan: bytes, rest: bytes) -> tuple[bytes, int] | None:
    if not pan.isdigit() or len(pan) > 19 or not rest:
        return None
    if rest[:1] in (b"=", b"^"):
        return pan, -1
    expiry = rest[:4]
    if len(expiry) < 4 or not expiry.isdigit() or not 1 <= int(expiry[2:]) <= 12:
        return None
    return pan, int(expiry)


def _possible(use: Use, text: str) -> bool:
    if use == Use.TRANSMITTED:
        return _moment(text)
    if use == Use.LOCAL_TIME:
        return _time(text)
    if use == Use.LOCAL_DATE:
        return _date(text)
    if use == Use.EXPIRY:
        return 1 <= int(text[2:]) <= 12
    return True


def _moment(text: str) -> bool:
    return _date(text[:4]) and _time(text[4:])


def _date(text: str) -> bool:
    return 1 <= int(text[:2]) <= 12 and 1 <= int(text[2:]) <= monthrange(2000, int(text[:2]))[1]


def _time(text: str) -> bool:
    return int(text[:2]) < 24 and int(text[2:4]) < 60 and int(text[4:]) < 60


def encode(
    dialect: Dialect,
    message: bytes,
    decoded: Decoded,
    mti: int,
    response: bytes,
    approval: bytes = b"",
    extra: tuple[int, bytes] | None = None,
    more: Sequence[tuple[int, bytes]] = (),
    has_mac: bool = False,
    envelope: bytes = b"",
) -> bytes:
    """Write the answer frame to a decoded message that came behind ``envelope``.

    Room for a MAC is the character 0.
    """
    rule = dialect.messages.get(decoded.columns["mti"])
    echo = rule.echo if rule else dialect.unknown_echo
    parts: dict[int, bytes] = {}
    for number in echo:
        if number in decoded.fields:
            at, length = decoded.fields[number]
            parts[number] = message[at - dialect.fields[number].prefix_bytes : at + length]
    if switch(dialect, Profile.REPEAT_ANSWER) == "kept":
        mti |= decoded.columns["mti"] & 1
    if dialect.fields[39].limit > 2:
        response = _action(dialect, mti, response.decode()).encode()
    parts[39] = write_field(dialect, dialect.fields[39], response)
    if approval:
        parts[38] = write_field(dialect, dialect.fields[38], approval)
    for number, data in ((extra,) if extra else ()) + tuple(more):
        parts[number] = write_field(dialect, dialect.fields[number], data)
    if has_mac:
        number = 128 if any(n > 64 for n in parts) else 64
        if number in dialect.fields:
            parts[number] = b"0" * dialect.fields[number].size
    bits = sum(1 << (128 - n) for n in parts)
    bitmap = bits.to_bytes(16, "big")
    more = any(n > 64 for n in parts)
    bitmap = bytes([bitmap[0] | 0x80]) + bitmap[1:] if more else bitmap[:8]
    if dialect.encoding.bitmap != "binary":
        bitmap = bitmap.hex().upper().encode()
    if dialect.encoding.bitmap == "ebcdic-hex":
        bitmap = from_ascii_text(dialect, bitmap)
    head = f"{(mti // 1000 + dialect.version) % 10}{mti % 1000:03d}"
    written = bytes.fromhex(head) if dialect.encoding.mti == "bcd" else head.encode()
    if dialect.encoding.mti == "ebcdic":
        written = from_ascii_text(dialect, written)
    body = written + bitmap + b"".join(parts[n] for n in sorted(parts))
    return _frame(dialect, envelope, body)


def _action(dialect: Dialect, mti: int, response: str) -> str:
    codes = dialect.action_codes
    plain = codes.get(response, codes["default"])
    return codes.get(f"{mti // 100 % 10}:{response}", plain)


def _frame(dialect: Dialect, envelope: bytes, body: bytes) -> bytes:
    framing = dialect.framing
    tail = bytes.fromhex(framing.trailer)
    size = len(envelope) + len(body) + len(tail)
    if framing.envelope == "tpdu":
        envelope = envelope[:1] + envelope[3:5] + envelope[1:3] + envelope[5:]
    if framing.envelope == "visa":
        stations = envelope[8:11] + envelope[5:8]
        envelope = envelope[:3] + size.to_bytes(2, "big") + stations + envelope[11:]
    counted = size + (framing.header_bytes if framing.counts == "all" else 0)
    width = framing.header_bytes
    length = {
        "binary": lambda: counted.to_bytes(width, "big"),
        "ascii": lambda: str(counted).zfill(width).encode(),
        "bcd": lambda: bytes.fromhex(str(counted).zfill(2 * width)),
    }[framing.length]()
    return length + bytes(framing.reserved_bytes) + envelope + body + tail
