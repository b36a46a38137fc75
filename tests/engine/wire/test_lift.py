"""What the engine reads inside longer fields after decoding: whether a part is taken."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.messages import authorization
from engine.wire.columns import FIELD_COUNT, REQUEST, Fault, Told
from engine.wire.dialect import (
    BUILTIN_DIALECTS,
    DIALECT_FOLDER,
    Dialect,
    DialectError,
    load_builtin,
    parse_dialect,
)
from engine.wire.lift_kernels import APPROVALS
from engine.wire.reading import read_batch
from engine.wire.table import SEGMENT, compile_dialects
from engine.wire.text import add_header, build_message

PAYMENT: dict[int, str | bytes] = {
    2: "9999000000000018", 3: "000000", 4: "000000001000", 7: "0601120000", 11: "000001",
    49: "840",
}  # fmt: skip
_TEXT = (DIALECT_FOLDER / "mc-cis.toml").read_text(encoding="utf-8")


class _Columns:
    """The columns of one message."""

    def __init__(self, frame: bytes) -> None:
        self.arena = np.zeros(len(frame) + 16, np.uint8)
        self.arena[: len(frame)] = np.frombuffer(frame, np.uint8)
        self.request = np.zeros(1, REQUEST)
        self.spans = np.zeros((1, FIELD_COUNT, 2), np.uint16)
        self.pan_block = np.zeros((1, 16), np.uint8)


def _partial(name: str, **changes: str) -> int:
    """Return the column of a payment in a dialect."""
    dialect = load_builtin(name)
    values = PAYMENT | {int(field[2:]): value for field, value in changes.items()}
    return int(_read(dialect, "0100", values)["partial"])


def _read(dialect: Dialect, mti: str, values: dict[int, str | bytes]) -> np.void:
    """Return the row of one message."""
    frame = add_header(dialect, build_message(dialect, mti, values))
    work = _Columns(frame)
    segments = np.zeros(1, SEGMENT)
    segments[0]["end"] = len(frame)
    key = np.zeros(2, np.uint64)
    assert read_batch(work, segments, 1, compile_dialects([dialect]), key) == 1
    assert int(work.request[0]["fault"]) in (Fault.NONE, Fault.MISSING)
    row: np.void = work.request[0]
    return row


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["iso87-bin", "iso87-hex", "iso87-bcd"])
@pytest.mark.parametrize(
    ("text", "wanted"), [("1", 1), ("1ABC", 1), ("0", 0), ("7 1", 7), ("X1", -1), ("", -1)]
)
def test_behaviour_28_the_first_character_of_a_field_says_it(
    name: str, text: str, wanted: int
) -> None:
    """A digit is its value, anything else says nothing."""
    assert _partial(name, de60=text) == wanted


@pytest.mark.kernels
@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("R6105100004203707", 1),
        ("R42070103210610510000", 1),
        ("R610500000", 0),
        ("R420761032109203123", -1),
        ("R6100", -1),
        ("R", -1),
    ],
)
def test_behaviour_28_an_element_of_a_field_says_it(text: str, wanted: int) -> None:
    """Tagged elements in EBCDIC; 61 in the data of another element is none."""
    assert _partial("mc-cis", de48=text) == wanted


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["iso87-bin", "mc-cis"])
def test_behaviour_28_a_message_without_the_field_says_nothing(name: str) -> None:
    """-1."""
    assert _partial(name) == -1


@pytest.mark.kernels
@pytest.mark.parametrize("name", ["visa-base1", "base24", "postilion", "as2805", "iso93-ascii"])
def test_behaviour_28_other_dialects_read_none(name: str) -> None:
    """Where the place is not public no part is approved."""
    table = compile_dialects([load_builtin(name)])
    assert not table.lifts.any()


@pytest.mark.kernels
@pytest.mark.parametrize("name", BUILTIN_DIALECTS)
@pytest.mark.parametrize("is_good", [True, False])
def test_behaviour_41_an_advice_says_what_was_decided_elsewhere(name: str, is_good: bool) -> None:
    """DE39 of 1987 by its list, later ones by their first digit, however they are written."""
    dialect = load_builtin(name)
    width = dialect.fields[39].limit
    codes = {2: ("Y1", "05"), 3: ("002", "116"), 4: ("0002", "1016")}[width]
    _, values = authorization(dialect)
    mti = f"{dialect.version}120"
    wanted = Told.APPROVED if is_good else Told.DECLINED
    assert _read(dialect, mti, {**values, 39: codes[not is_good]})["told"] == wanted
    assert _read(dialect, mti, values)["told"] == Told.NOTHING
    request = _read(dialect, f"{dialect.version}100", {**values, 39: codes[1]})
    assert request["told"] == Told.NOTHING


@pytest.mark.kernels
@given(st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2))
def test_no_other_code_of_1987_is_an_approval(code: str) -> None:
    """Exactly those of the list are."""
    told = _read(load_builtin("iso87-bin"), "0120", {**PAYMENT, 39: code})["told"]
    assert told == (Told.APPROVED if code in APPROVALS else Told.DECLINED)


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ('61 = { name = "point of service, extended', '6A = { name = "p', "of kind se or pds"),
        ('use = "partial" }', 'use = "pan" }', "of a tag, use is none or partial"),
        ('60 = { use = "none" }', '60 = { use = "partial", format = "b" }', "n fixed 1, or an/ans"),
    ],
)
def test_a_use_in_the_wrong_place_is_refused(old: str, new: str, wanted: str) -> None:
    """File, line and what would be right."""
    with pytest.raises(DialectError, match=r"x\.toml: line \d+: ") as caught:
        parse_dialect(re.sub(re.escape(old), new, _TEXT, count=1), "x.toml")
    assert wanted in str(caught.value)


_VISA = (DIALECT_FOLDER / "visa-base1.toml").read_text(encoding="utf-8")
_POSITIONAL = """
extends = "{0}"
name = "x"
source = "a lifecycle id behind two digits of field 62"
[encoding]
text = "{1}"
[fields]
62 = {{ format = "ans", length = "LLL", max = 99 }}
[parts.62]
kind = "positional"
[parts.62.fields]
1 = {{ name = "a", format = "n", length = "fixed", max = 2, sensitivity = "public" }}
2.name = "id"
2.format = "n"
2.length = "fixed"
2.max = 15
2.sensitivity = "public"
2.use = "lifecycle"
"""


@pytest.mark.kernels
@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        ("4000000000000000" + "0386200000000017", 386_200_000_000_017),
        ("4000000000000000" + "0999999999999999", 999_999_999_999_999),
        ("4000000000000000" + "0000000000000000", 0),
        ("c000000000000000" + "c1" + "0000000000000017", 17),
        ("8000000000000000" + "c1", 0),
    ],
)
def test_the_lifecycle_id_of_a_nested_bitmap(data: str, wanted: int) -> None:
    """Element 2 of DE62: its digits as a number; zeros and absence say that there is none."""
    row = _read(load_builtin("visa-base1"), "0100", {**PAYMENT, 62: bytes.fromhex(data)})
    assert row["lifecycle"] == wanted


@pytest.mark.kernels
@pytest.mark.parametrize(("base", "text"), [("iso87-bin", "ascii"), ("mc-cis", "cp500")])
@pytest.mark.parametrize(("digits", "wanted"), [("07000000000000042", 42), ("07", 0), ("", 0)])
def test_the_lifecycle_id_of_fixed_places(base: str, text: str, digits: str, wanted: int) -> None:
    """In ASCII and EBCDIC; a field that ends before it has none."""
    dialect = parse_dialect(_POSITIONAL.format(base, text), "x.toml")
    assert _read(dialect, "0100", {**PAYMENT, 62: digits})["lifecycle"] == wanted


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("[parts.55]", '[fields.113]\nuse = "lifecycle"\n[parts.55]', "an element inside a field"),
        ('max = 15, sensitivity = "public", use', 'max = 16, sensitivity = "public", use', "to 15"),
        ('"validation code", ', '"v", use = "lifecycle", ', "one n fixed"),
        ('"duration", ', '"duration", use = "lifecycle", ', "'lifecycle' is given twice"),
    ],
)
def test_a_lifecycle_id_in_the_wrong_place_is_refused(old: str, new: str, wanted: str) -> None:
    """File, line and what would be right."""
    with pytest.raises(DialectError, match=r"x\.toml: line \d+: ") as caught:
        parse_dialect(_VISA.replace(old, new, 1), "x.toml")
    assert wanted in str(caught.value)
