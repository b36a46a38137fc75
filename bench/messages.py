"""One authorization with chip data in any dialect: twenty-two fields, the same payment in each."""

from engine.wire.canon import wire_field
from engine.wire.dialect import Dialect, Use

PAN = "4111111111111111"
ACCEPTOR = "CORNER SHOP 12           SPRINGFIELD  US"
_CHIP = (
    *("9F2608A1B2C3D4E5F60718", "9F270180", "9F100706010A03A0B000", "9F370411223344", "9F36020123"),
    *("9505 0000008000", "9A03 261123", "9C0100", "9F0206000000012345", "5F2A020840", "82023900"),
    *("9F1A020840", "9F0306000000000000", "9F3303E0F8C8", "9F34031E0300", "9F350122"),
    *("8407A0000000031010", "9F410400000123"),
)
CHIP = bytes.fromhex("".join(_CHIP))
_BY_USE: dict[Use, str | bytes] = {
    Use.PAN: PAN,
    Use.PCODE: "000000",
    Use.AMOUNT: "000000012345",
    Use.AMOUNT_AND_CURRENCY: "8402000000012345",
    Use.TRANSMITTED: "1123214501",
    Use.STAN: "000123",
    Use.LOCAL_TIME: "214501",
    Use.LOCAL_DATE: "1123",
    Use.LOCAL_MOMENT: "261123214501",
    Use.EXPIRY: "3012",
    Use.MCC: "5411",
    Use.COUNTRY: "840",
    Use.ENTRY_MODE: "051",
    Use.CONDITION: "00",
    Use.POS_CODES: "510101514344",
    Use.POS_BITS: bytes.fromhex("20000000 10000000 01000000 00000000"),
    Use.FUNCTION: "100",
    Use.ACQUIRER: "12345678901",
    Use.TRACK2: f"{PAN}=30122010000012300000",
    Use.RRN: "123456789012",
    Use.TERMINAL: "TERM0001",
    Use.MERCHANT: "MERCHANT0000001",
    Use.CURRENCY: "840",
    Use.PIN_BLOCK: bytes.fromhex("0412ACDEF0123456"),
}
_FURTHER = {7: "1123214501", 23: "001", 33: "10000000002", 25: "1500"}
FIELDS = 22


def authorization(dialect: Dialect) -> tuple[str, dict[int, str | bytes]]:
    """Return the MTI and the twenty-two values of an authorization, chip data included."""
    values: dict[int, str | bytes] = {}
    for use, value in _BY_USE.items():
        number = dialect.field_of(use)
        if number:
            values[number] = _fitted(dialect, number, value)
    values[43] = _acceptor(dialect)
    number = dialect.field_of(Use.CHIP)
    is_dataset = dialect.parts[number].kind == "dataset"
    head = bytes([1]) + len(CHIP).to_bytes(2, "big") if is_dataset else b""
    values[number] = head + CHIP
    for number, text in _FURTHER.items():
        if len(values) < FIELDS:
            values.setdefault(number, text)
    return f"{dialect.version}100", values


def _fitted(dialect: Dialect, number: int, value: str | bytes) -> str | bytes:
    """Return a value as long as its field: numbers with zeros before, text with blanks after."""
    field = dialect.fields[number]
    if field.prefix_digits or not isinstance(value, str):
        return value
    size = field.limit if field.is_bcd else field.size
    if field.use == Use.LOCAL_MOMENT and size > len(value):
        return "20" + value
    return value.zfill(size) if field.format == "n" else value.ljust(size)


def _acceptor(dialect: Dialect) -> str | bytes:
    parts = dialect.parts.get(43)
    if parts is None:
        return ACCEPTOR
    data = (1 << 62 | 1 << 60).to_bytes(8, "big")
    for inner, text in ((2, "CORNER SHOP 12"), (4, "SPRINGFIELD")):
        data += wire_field(dialect, parts.fields[inner], text, "acceptor")
    return data
