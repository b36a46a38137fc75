"""ISO 8583 messages read and written in plain Python: oracle of the codec kernels.

Written from the description of the wire, a dictionary and byte strings at a time. ``decode``
returns the columns of REQUEST that depend on the message, the fields that were valid, and the
block for the card token.
"""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engine.wire.columns import Fault
from engine.wire.dialect import Dialect, Field, Use
from tests.oracle.siphash import siphash

Reject = Callable[[Use], None]
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
}
ABSENT_ZERO = (
    *("terminal", "merchant", "rrn_a", "rrn_b", "transmitted", "original_transmitted"),
    *("pan_length", "bin", "luhn", "fault", "fault_field", "fault_offset"),
)
ABSENT_MINUS = (
    *("replacement_amount", "original_acquirer", "original_forwarder"),
    *("original_mti", "original_stan", "mti"),
)


@dataclass
class Decoded:
    """What one message says."""

    columns: dict[str, int]
    fields: dict[int, tuple[int, int]] = field(default_factory=dict)  # offset, length
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
    if len(message) < 4 or any(c not in DIGITS for c in message[:4]):
        result.faults.append((0, Fault.MTI, 0))
        return _settle(dialect, message, result)
    columns["mti"] = int(message[:4])
    numbers, at = _bitmaps(dialect, message, result)
    if at is not None:
        at = _fields(dialect, message, numbers, at, result)
    _values(dialect, message, result, key)
    if at is not None and at != len(message) and not result.faults:
        result.faults.append((0, Fault.TRAILING, at))
    return _settle(dialect, message, result)


def _settle(dialect: Dialect, message: bytes, result: Decoded) -> Decoded:
    if not result.faults:
        missing = _missing(dialect, result)
        if missing:
            result.faults.append((missing, Fault.MISSING, len(message)))
    if result.faults:
        number, fault, offset = min(result.faults)
        result.columns |= {"fault": fault, "fault_field": number, "fault_offset": offset}
    high = sum(1 << (64 - n) for n in result.fields if n <= 64)
    low = sum(1 << (128 - n) for n in result.fields if n > 64)
    result.columns |= {"bitmap_hi": high, "bitmap_lo": low}
    return result


def _missing(dialect: Dialect, result: Decoded) -> int:
    rule = dialect.messages.get(result.columns["mti"])
    if rule is None:
        return 0
    missing = [n for n in rule.mandatory if n not in result.fields]
    if rule.needs_pan and not result.pan:
        missing.append(dialect.field_of(Use.PAN))
    return min(missing, default=0)


def _bitmaps(dialect: Dialect, message: bytes, result: Decoded) -> tuple[list[int], int | None]:
    is_hex = dialect.encoding.bitmap == "hex"
    width = 16 if is_hex else 8
    numbers: list[int] = []
    at = 4
    for half in range(2):
        chunk = message[at : at + width]
        wrong = len(chunk) < width
        if is_hex and not wrong and any(c not in string.hexdigits.encode() for c in chunk):
            result.faults.append((half, Fault.BITMAP, at))
            return numbers, (at + width if half else None)
        if wrong:
            result.faults.append((half, Fault.BITMAP, at))
            return numbers, None
        word = int(chunk, 16) if is_hex else int.from_bytes(chunk, "big")
        numbers += [64 * half + i + 1 for i in range(64) if word >> (63 - i) & 1]
        at += width
        if 1 not in numbers:
            break
    return [n for n in numbers if n != 1], at


def _fields(
    dialect: Dialect, message: bytes, numbers: list[int], at: int, result: Decoded
) -> int | None:
    for number in numbers:
        if number == 1:
            continue
        entry = dialect.fields.get(number)
        if entry is None:
            result.faults.append((number, Fault.BITMAP, at))
            return None
        length = entry.size
        prefix = message[at : at + entry.prefix_digits]
        if entry.prefix_digits:
            sound = len(prefix) == entry.prefix_digits and all(c in DIGITS for c in prefix)
            length = int(prefix) if sound else 10**6
        begin = at + entry.prefix_digits
        odd = entry.is_hex and length % 2
        if length > entry.size or begin + length > len(message) or odd:
            result.faults.append((number, Fault.LENGTH, at))
            return None
        bad = _first_wrong(entry, message[begin : begin + length])
        if bad is None:
            result.fields[number] = (begin, length)
        else:
            result.faults.append((number, Fault.CHARSET, begin + bad))
        at = begin + length
    return at


def _first_wrong(entry: Field, data: bytes) -> int | None:
    allowed = string.hexdigits.encode() if entry.is_hex else CLASSES[entry.format]
    for k, byte in enumerate(data):
        if byte not in (b"CD" if entry.format == "x+n" and k == 0 else allowed):
            return k
    return None


def _values(dialect: Dialect, message: bytes, result: Decoded, key: tuple[int, int]) -> None:
    columns = result.columns
    found: dict[Use, bytes] = {}
    for number, (at, length) in result.fields.items():
        found[dialect.fields[number].use] = message[at : at + length]

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
        columns["terminal"] = int.from_bytes(found[Use.TERMINAL], "little")
    if Use.MERCHANT in found:
        acquirer = columns["acquirer"].to_bytes(8, "little", signed=True)
        columns["merchant"] = siphash(*key, found[Use.MERCHANT] + acquirer) or 1
    _original(result, found, reject)
    _card(result, found, reject)


def _original(result: Decoded, found: dict[Use, bytes], reject: Reject) -> None:
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
        columns["original_mti"], columns["original_stan"] = int(text[:4]), int(text[4:10])
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
    return 1 <= int(text[:2]) <= 12 and 1 <= int(text[2:]) <= 31


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
) -> bytes:
    """Write the answer frame to a decoded message; room for a MAC is the character 0."""
    rule = dialect.messages.get(decoded.columns["mti"])
    echo = rule.echo if rule else dialect.unknown_echo
    parts: dict[int, bytes] = {}
    for number in echo:
        if number in decoded.fields:
            at, length = decoded.fields[number]
            parts[number] = message[at - dialect.fields[number].prefix_digits : at + length]
    parts[39] = response
    if approval:
        parts[38] = approval
    for number, data in ((extra,) if extra else ()) + tuple(more):
        digits = dialect.fields[number].prefix_digits
        parts[number] = (str(len(data)).zfill(digits).encode() if digits else b"") + data
    if has_mac:
        number = 128 if any(n > 64 for n in parts) else 64
        parts[number] = b"0" * dialect.fields[number].size
    bits = sum(1 << (128 - n) for n in parts)
    bitmap = bits.to_bytes(16, "big")
    more = any(n > 64 for n in parts)
    bitmap = bytes([bitmap[0] | 0x80]) + bitmap[1:] if more else bitmap[:8]
    if dialect.encoding.bitmap == "hex":
        bitmap = bitmap.hex().upper().encode()
    body = f"{mti:04d}".encode() + bitmap + b"".join(parts[n] for n in sorted(parts))
    return len(body).to_bytes(2, "big") + body
