"""Decode kernels against the plain oracle, pyiso8583 and the rules of the wire."""

from itertools import pairwise

import iso8583
import iso8583.specs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.messages import authorization
from engine.wire.canon import to_ebcdic
from engine.wire.columns import Fault
from engine.wire.dialect import Dialect
from engine.wire.table import FrameFault
from engine.wire.text import build_message
from tests.engine.wire.support import (
    BIN,
    DIALECTS,
    HEX,
    KEY,
    SAMPLE,
    columns,
    decode,
    field_spans,
    frame,
    messages,
)
from tests.oracle import codec as oracle
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

SPECS = {"iso87-bin": iso8583.specs.default, "iso87-hex": iso8583.specs.default_ascii}
EACH = pytest.mark.parametrize("dialect", DIALECTS[:2], ids=lambda d: d.name)
EVERY = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)


def assert_like_oracle(dialect: Dialect, message: bytes) -> None:
    """Compare the kernel's row of one message with the oracle's."""
    batch = decode([(DIALECTS.index(dialect), frame(message, dialect))])
    if len(message) < dialect.framing.min_bytes:
        assert batch.rows == 0
        return
    expected = oracle.decode(dialect, message, KEY)
    assert batch.rows == 1
    assert columns(batch) == expected.columns
    assert field_spans(batch) == expected.fields
    assert bytes(batch.pan_block[0]) == expected.block()


@EVERY
@given(data=st.data())
@settings(max_examples=examples(60))
def test_decode_equals_the_oracle_on_valid_messages(dialect: Dialect, data: st.DataObject) -> None:
    """Every column, span and card block of a valid message is as the plain decoder has it."""
    mti, values = data.draw(messages(dialect))
    message = build_message(dialect, mti, values)
    assert_like_oracle(dialect, message)
    assert oracle.decode(dialect, message, KEY).columns["fault"] in (Fault.NONE, Fault.MISSING)


@EVERY
@given(data=st.data())
@settings(max_examples=examples(100))
def test_decode_equals_the_oracle_on_mutated_messages(
    dialect: Dialect, data: st.DataObject
) -> None:
    """A message with bytes changed, cut or added gives the oracle's fault, field and offset."""
    mti, values = data.draw(messages(dialect))
    message = bytearray(build_message(dialect, mti, values))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(message) - 1))
        message[at] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from(b"0139 +-_CD=^")))
    cut = data.draw(st.integers(0, 3))
    changed = bytes(message[: len(message) - cut]) + data.draw(st.sampled_from([b"", b"", b"0"]))
    assert_like_oracle(dialect, changed)


@EVERY
@given(body=st.binary(max_size=120), high=st.sets(st.integers(2, 64), max_size=8))
@settings(max_examples=examples(60))
def test_decode_equals_the_oracle_on_random_bytes(
    dialect: Dialect, body: bytes, high: set[int]
) -> None:
    """Bytes without meaning never crash and are judged as the oracle judges them."""
    head = build_message(dialect, f"{dialect.version}100", {})
    size = len(head) - (8 if dialect.encoding.bitmap == "binary" else 16)
    bitmap = sum(1 << (64 - n) for n in high).to_bytes(8, "big")
    if dialect.encoding.bitmap != "binary":
        bitmap = bitmap.hex().encode()
    if dialect.encoding.bitmap == "ebcdic-hex":
        bitmap = to_ebcdic(dialect, bitmap)
    assert_like_oracle(dialect, body)
    assert_like_oracle(dialect, head[:size] + bitmap + body)


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=3))
def test_decode_survives_any_byte_stream(data: bytes, cuts: list[int]) -> None:
    """Links of random bytes are taken or left, within their bounds, and never crash."""
    edges = sorted({0, len(data), *(c for c in cuts if c < len(data))})
    links = [(k % 2, data[a:b]) for k, (a, b) in enumerate(pairwise(edges))]
    batch = decode(links)
    for (_, link), segment in zip(links, batch.segments, strict=False):
        assert 0 <= segment["consumed"] <= len(link)


@EACH
@given(data=st.data())
@settings(max_examples=examples(150))
def test_decode_agrees_with_pyiso8583(dialect: Dialect, data: st.DataObject) -> None:
    """Messages that pyiso8583 encodes are read with the same fields, and the other way round."""
    mti, values = data.draw(messages(dialect))
    doc = {"t": mti}
    for number, value in values.items():
        doc[str(number)] = value if isinstance(value, str) else value.hex().upper()
    theirs, _ = iso8583.encode(doc, SPECS[dialect.name])
    ours = build_message(dialect, mti, values)
    assert bytes(theirs) == ours
    batch = decode([(DIALECTS.index(dialect), frame(ours))])
    read, parts = iso8583.decode(ours, SPECS[dialect.name])
    spans = field_spans(batch)
    assert batch.request[0]["mti"] == int(read["t"])
    assert {str(n) for n in spans} == set(read) - {"t", "h", "p", "1"}
    for number, (at, length) in spans.items():
        assert ours[at : at + length] == parts[str(number)]["data"]


@EVERY
def test_frame_split_at_every_offset_decodes_the_same(dialect: Dialect) -> None:
    """Bytes that arrive in two pieces, wherever cut, give the rows of one piece."""
    row = DIALECTS.index(dialect)
    data = frame(build_message(dialect, *authorization(dialect)), dialect) * 2
    whole = decode([(row, data)])
    for cut in range(len(data) + 1):
        first = decode([(row, data[:cut])])
        consumed = int(first.segments[0]["consumed"])
        second = decode([(row, data[consumed:])])
        assert first.rows + second.rows == 2
        assert consumed + second.segments[0]["consumed"] == len(data)
        part = first if first.rows else second
        assert columns(part) == columns(whole)


def test_links_of_different_dialects_decode_in_one_call() -> None:
    """Each segment is read by its own dialect and keeps the order and place of its rows."""
    a, b = (frame(build_message(d, "0100", SAMPLE), d) for d in (BIN, HEX))
    batch = decode([(0, a * 3), (1, b * 2), (0, b""), (0, b"\0\0" + a + a[:5])])
    assert batch.rows == 6
    assert batch.segments["first_row"].tolist() == [0, 3, 5, 5]
    assert batch.segments["row_count"].tolist() == [3, 2, 0, 1]
    assert batch.segments["keepalives"].tolist() == [0, 0, 0, 1]
    assert batch.segments["keepalives_last"].tolist() == [0, 0, 0, 0]
    assert batch.segments["consumed"].tolist() == [3 * len(a), 2 * len(b), 0, 2 + len(a)]
    assert batch.request["segment"][:6].tolist() == [0, 0, 0, 1, 1, 3]
    assert all(columns(batch, i)["stan"] == 123 for i in range(6))


def test_full_request_array_leaves_the_rest_for_the_next_call() -> None:
    """When rows run out, consumed says where to go on and nothing is lost."""
    data = frame(build_message(BIN, "0100", SAMPLE))
    batch = decode([(0, data * 3), (0, data * 2)], capacity=4)
    assert batch.rows == 4
    assert batch.segments["consumed"].tolist() == [3 * len(data), len(data)]
    assert decode([(0, data)], capacity=0).segments[0]["consumed"] == 0


def test_zero_length_frames_are_counted_as_keepalives() -> None:
    """Keep-alives before and after a message are told apart."""
    data = b"\0\0" + frame(build_message(BIN, "0800", {11: "000001", 70: "301"})) + b"\0\0\0\0"
    segment = decode([(0, data)]).segments[0]
    assert (segment["keepalives"], segment["keepalives_last"]) == (3, 2)
    assert segment["consumed"] == len(data)


@pytest.mark.parametrize(
    ("header", "fault"),
    [(b"\x20\x01", FrameFault.TOO_LONG), (b"\x00\x0b", FrameFault.TOO_SHORT)],
)
def test_impossible_length_closes_the_link_after_its_good_frames(
    header: bytes, fault: FrameFault
) -> None:
    """A length over the maximum or under an MTI and bitmap is a fault of the link, not a row."""
    good = frame(build_message(BIN, "0100", SAMPLE))
    batch = decode([(0, good + header + b"x" * 20), (0, good)])
    assert batch.segments["fault"].tolist() == [fault, FrameFault.NONE]
    assert batch.segments["row_count"].tolist() == [1, 1]
    assert batch.segments[0]["consumed"] == len(good)


def _fault(dialect: Dialect, mti: str, values: dict[int, str | bytes]) -> tuple[int, int]:
    row = DIALECTS.index(dialect)
    batch = decode([(row, frame(build_message(dialect, mti, values)))])
    return int(batch.request[0]["fault"]), int(batch.request[0]["fault_field"])


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (Fault.NONE, 0)),
        ({4: "999999999999"}, (Fault.NONE, 0)),
        ({4: "00000001234x"}, (Fault.CHARSET, 4)),
        ({4: "00000000+123"}, (Fault.CHARSET, 4)),
        ({7: "1323214501"}, (Fault.VALUE, 7)),
        ({7: "1132214501"}, (Fault.VALUE, 7)),
        ({7: "1123244501"}, (Fault.VALUE, 7)),
        ({7: "0230214501"}, (Fault.VALUE, 7)),
        ({7: "0229214501"}, (Fault.NONE, 0)),
        *(({13: f"{month:02d}30"}, (Fault.NONE, 0)) for month in range(3, 13)),
        *(({13: f"{month:02d}31"}, (Fault.VALUE, 13)) for month in (2, 4, 6, 9, 11)),
        *(({13: f"{month:02d}31"}, (Fault.NONE, 0)) for month in (1, 3, 5, 7, 8, 10, 12)),
        ({14: "3013"}, (Fault.VALUE, 14)),
        ({49: "USD"}, (Fault.VALUE, 49)),
        ({35: "4111111111111111=3012201"}, (Fault.NONE, 0)),
        ({35: "4111111111111112=3012201"}, (Fault.VALUE, 35)),
        ({35: "4111111111111111=3011201"}, (Fault.VALUE, 35)),
        ({35: "4111111111111111"}, (Fault.VALUE, 35)),
        ({45: "B4111111111111112^A/B^3012101"}, (Fault.VALUE, 45)),
        ({41: "TERM\x7f001"}, (Fault.CHARSET, 41)),
        ({95: "C" + "0" * 41}, (Fault.VALUE, 95)),
        ({90: "0100" + "000001" + "1399000000" + "0" * 22}, (Fault.VALUE, 90)),
        ({28: "E00000100"}, (Fault.CHARSET, 28)),
        ({28: "C00000100"}, (Fault.NONE, 0)),
        ({2: None}, (Fault.MISSING, 2)),
        ({3: None, 49: None}, (Fault.MISSING, 3)),
        ({2: None, 35: "4111111111111111D3012201"}, (Fault.NONE, 0)),
        ({2: None, 45: "B4111111111111111^A/B^3012101"}, (Fault.NONE, 0)),
    ],
)
@EACH
def test_faults_name_the_field(
    dialect: Dialect, changes: dict[int, str | None], expected: tuple[int, int]
) -> None:
    """A value that cannot be, a wrong character and an absent field each name their field."""
    values = {n: v for n, v in {**SAMPLE, **changes}.items() if v is not None}
    assert _fault(dialect, "0100", values) == expected


@pytest.mark.parametrize("prefix", [b"+4", b" 4", b"-1", b"1_", b"20", b"\xb2\xb3"])
def test_length_prefix_must_be_digits_within_the_limit(prefix: bytes) -> None:
    """Signs, spaces, underscores and lengths over the maximum are a length fault of field 2."""
    message = bytearray(build_message(BIN, "0100", SAMPLE))
    message[12:14] = prefix
    batch = decode([(0, frame(bytes(message)))])
    row = batch.request[0]
    assert (row["fault"], row["fault_field"], row["fault_offset"]) == (Fault.LENGTH, 2, 12)
    assert field_spans(batch) == {}


def test_field_not_in_the_dialect_is_a_bitmap_fault() -> None:
    """DE65 would announce a third bitmap; fields before it are still read."""
    body = build_message(BIN, "0800", {11: "000007", 70: "301"})
    words = bytearray(body)
    words[12] |= 0x80
    batch = decode([(0, frame(bytes(words)))])
    row = batch.request[0]
    assert (row["fault"], row["fault_field"]) == (Fault.BITMAP, 65)
    assert row["stan"] == 7
    assert list(field_spans(batch)) == [11]


def test_stan_is_read_beyond_a_fault_in_an_earlier_field() -> None:
    """A bad amount leaves MTI and trace number readable, so the request can be answered."""
    message = build_message(BIN, "0100", {**SAMPLE, 4: "00000000000x"})
    batch = decode([(0, frame(message))])
    row = batch.request[0]
    assert (row["mti"], row["stan"], row["amount"]) == (100, 123, -1)
    assert 4 not in field_spans(batch)
    assert 41 in field_spans(batch)


def test_empty_second_bitmap_is_accepted() -> None:
    """Bit 1 with sixteen zero bits of bitmap is a valid message."""
    message = build_message(BIN, "0800", {11: "000001"})
    padded = message[:4] + bytes([message[4] | 0x80]) + message[5:12] + bytes(8) + message[12:]
    row = decode([(0, frame(padded))]).request[0]
    assert (row["fault"], row["fault_field"], row["stan"]) == (Fault.MISSING, 70, 1)


def test_hex_bitmap_is_read_in_both_cases() -> None:
    """Lower-case bitmap characters mean the same as upper-case ones."""
    message = build_message(HEX, "0100", SAMPLE)
    lower = message[:4] + message[4:20].lower() + message[20:]
    assert columns(decode([(1, frame(lower))])) == columns(decode([(1, frame(message))]))


@pytest.mark.parametrize("mti", ["0600", "0300", "1100", "2100", "0110", "9999"])
def test_unknown_messages_of_valid_syntax_decode(mti: str) -> None:
    """What the dialect does not describe has no fault: answering it is decided elsewhere."""
    row = decode([(0, frame(build_message(BIN, mti, {11: "000001"})))]).request[0]
    assert (row["fault"], row["mti"], row["stan"]) == (Fault.NONE, int(mti), 1)


def test_unreadable_mti_is_minus_one() -> None:
    """Four characters that are no digits leave nothing to answer."""
    message = b"01x0" + build_message(BIN, "0100", SAMPLE)[4:]
    row = decode([(0, frame(message))]).request[0]
    assert (row["mti"], row["fault"], row["stan"]) == (-1, Fault.MTI, -1)


def test_trailing_bytes_are_a_fault_at_their_offset() -> None:
    """A message goes on after its last field: the offset of the first byte too many is named."""
    message = build_message(BIN, "0100", SAMPLE)
    row = decode([(0, frame(message + b"x"))]).request[0]
    assert (row["fault"], row["fault_field"]) == (Fault.TRAILING, 0)
    assert row["fault_offset"] == len(message)


def test_card_block_is_count_digits_padding_and_domain() -> None:
    """The token's input is the digit count, the number in BCD padded with F, and a constant."""
    batch = decode([(0, frame(build_message(BIN, "0100", SAMPLE)))])
    assert batch.pan_block[0].tobytes().hex() == "10" + "4111111111111111" + "ffff" + "6465333901"
    row = batch.request[0]
    assert (row["bin"], row["luhn"], row["pan_length"]) == (411111, 1, 16)


def test_rows_do_not_remember_the_batch_before() -> None:
    """Every column of a row is written anew: dirty arrays give the same row as clean ones."""
    data = frame(build_message(BIN, "0800", {11: "000001", 70: "301"}))
    batch = decode([(0, data)])
    clean = batch.request[0].copy()
    batch.request.view(np.uint8)[:] = 0xAA
    batch.pan_block[:] = 0xAA
    again = decode([(0, frame(build_message(BIN, "0100", SAMPLE)) + data)])
    from engine.wire.kernels import decode_batch
    from tests.engine.wire.support import HASH_KEY, TABLE

    decode_batch(
        batch.arena, batch.segments, 1, TABLE, HASH_KEY, batch.request, batch.spans,
        batch.pan_block,
    )  # fmt: skip
    assert batch.request[0] == clean
    assert bytes(batch.pan_block[0]) == bytes(again.pan_block[1])
