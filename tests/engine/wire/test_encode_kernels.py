"""Encode kernels: what is echoed, what is written, and that nothing goes past the end of out."""

import iso8583
import iso8583.specs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.wire.canon import wire_field
from engine.wire.columns import Fault
from engine.wire.dialect import Dialect
from engine.wire.encode_kernels import REPLY_OVERHEAD_BYTES, reply_mti
from engine.wire.text import build_message, default_envelope
from tests.engine.wire.support import BIN, DIALECTS, KEY, SAMPLE, decode, encode, frame, messages
from tests.oracle import codec as oracle
from tests.support.effort import examples

pytestmark = pytest.mark.kernels

SPECS = {"iso87-bin": iso8583.specs.default, "iso87-hex": iso8583.specs.default_ascii}
EACH = pytest.mark.parametrize("dialect", DIALECTS[:2], ids=lambda d: d.name)
EVERY = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)


def fits(dialect: Dialect, number: int, data: bytes) -> bool:
    """Return whether a dialect has a field for these data."""
    field = dialect.fields.get(number)
    if field is None or (field.format == "n" and not data.isdigit()):
        return False
    try:
        wire_field(dialect, field, data, "extra")
    except ValueError:
        return False
    return True


def _answer(dialect: Dialect, message: bytes) -> dict[str, str]:
    batch = decode([(DIALECTS.index(dialect), frame(message, dialect))])
    (out,) = encode(batch, [(0, 110, b"00", b"ABC123", None)])
    assert int.from_bytes(out[:2], "big") == len(out) - 2
    return iso8583.decode(out[2:], SPECS[dialect.name])[0]


@EVERY
@given(data=st.data())
@settings(max_examples=examples(60))
def test_encode_equals_the_oracle(dialect: Dialect, data: st.DataObject) -> None:
    """Answers to valid and to damaged requests, with and without more fields, are byte-equal."""
    mti, values = data.draw(messages(dialect))
    message = bytearray(build_message(dialect, mti, values))
    if data.draw(st.booleans()):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    decoded = oracle.decode(dialect, bytes(message), KEY)
    if decoded.columns["mti"] < 0 or decoded.columns["mti"] // 10 % 2:
        return  # unreadable, or an answer itself: never answered
    answer_mti = int(reply_mti(decoded.columns["mti"]))
    approval = data.draw(st.sampled_from([b"", b"A1B2C3"]))
    extra = data.draw(st.sampled_from([None, (44, b"004"), (44, b""), (54, b"0057840C" * 3)]))
    extra = data.draw(st.sampled_from([extra, (120, b"x" * 33), (4, b"000000000007")]))
    more = data.draw(st.sampled_from([(), ((55, b"AB"),), ((104, b"TEXT"), (55, b""))]))
    extra = extra if extra and fits(dialect, *extra) else None
    more = tuple(pair for pair in more if fits(dialect, *pair))
    has_mac = data.draw(st.booleans())
    mac_at: list[int] | None = [] if has_mac else None
    envelope = default_envelope(dialect)
    batch = decode([(DIALECTS.index(dialect), frame(bytes(message), dialect))])
    assert batch.rows == 1
    (out,) = encode(batch, [(0, answer_mti, b"05", approval, extra)], more=more, mac_at=mac_at)
    arguments = (dialect, bytes(message), decoded, answer_mti, b"05", approval, extra)
    if dialect.framing.envelope == "visa":  # the header has the length of the whole
        envelope = envelope[:3] + (len(envelope) + len(message)).to_bytes(2, "big") + envelope[5:]
    assert out == oracle.encode(*arguments, more=more, has_mac=has_mac, envelope=envelope)
    end = len(out) - len(dialect.framing.trailer) // 2
    assert mac_at in (None, [end - dialect.fields[64].size])


@EACH
def test_answer_carries_the_echo_list_byte_for_byte(dialect: Dialect) -> None:
    """Fields 2 to 49 of the list come back as they came; PIN block, expiry and the rest do not."""
    sent = {**SAMPLE, 12: "214501", 13: "1123", 33: "00000000002", 35: "4111111111111111=3012"}
    read = _answer(dialect, build_message(dialect, "0100", sent))
    back = {int(k) for k in read if k.isdigit()}
    assert back == {2, 3, 4, 7, 11, 12, 13, 32, 33, 37, 38, 39, 41, 42, 49}
    assert all(read[str(n)] == sent[n] for n in back - {38, 39})
    assert (read["t"], read["38"], read["39"]) == ("0110", "ABC123", "00")


@EACH
def test_second_bitmap_only_when_needed(dialect: Dialect) -> None:
    """A sign-on answer echoes DE70 behind a second bitmap, an authorization answer has none."""
    read = _answer(
        dialect, build_message(dialect, "0800", {7: "1123214501", 11: "000001", 70: "301"})
    )
    assert read["70"] == "301"
    read = _answer(dialect, build_message(dialect, "0100", {**SAMPLE, 102: "ACCOUNT"}))
    assert "1" not in read


@EACH
def test_canonical_answer_survives_decode_and_encode(dialect: Dialect) -> None:
    """A message of echoed fields only is returned whole, but for its MTI and DE39."""
    values = {n: v for n, v in SAMPLE.items() if n not in (14, 22, 52)}
    batch = decode([(DIALECTS.index(dialect), frame(build_message(dialect, "0100", values)))])
    (out,) = encode(batch, [(0, 100, b"00", b"", None)])
    assert out[2:] == build_message(dialect, "0100", {**values, 39: "00"})


def test_faulty_request_echoes_valid_fields_only() -> None:
    """The field at fault stays out of the answer; those that could be read come back."""
    message = build_message(BIN, "0100", {**SAMPLE, 4: "00000000000x"})
    batch = decode([(0, frame(message))])
    (out,) = encode(batch, [(0, 110, b"30", b"", (44, b"004"))])
    read, _ = iso8583.decode(out[2:], SPECS["iso87-bin"])
    assert batch.request[0]["fault"] == Fault.CHARSET
    assert (read["39"], read["44"], read["11"], read["41"]) == ("30", "004", "000123", "TERM0001")
    assert "4" not in read


def test_extra_field_that_does_not_fit_is_left_out() -> None:
    """An answer still leaves when its extra field is too long or unknown to the dialect."""
    batch = decode([(0, frame(build_message(BIN, "0100", SAMPLE)))])
    for extra in [(44, b"x" * 26), (65, b"1"), (4, b"123")]:
        (out,) = encode(batch, [(0, 110, b"00", b"", extra)])
        read, _ = iso8583.decode(out[2:], SPECS["iso87-bin"])
        assert "44" not in read
        assert read["4"] == "000000012345"


@given(room=st.integers(0, 600))
def test_small_out_is_refused_and_never_overrun(room: int) -> None:
    """Either all answers are written or none is promised; bytes after out stay untouched."""
    data = frame(build_message(BIN, "0100", SAMPLE))
    batch = decode([(0, data * 2)])
    replies = [(0, 110, b"00", b"ABC123", (44, b"x" * 25)), (1, 110, b"51", b"", None)]
    try:
        frames = encode(batch, replies, room=room)
    except OverflowError:
        assert room < 2 * (len(data) - 2) + 25 + 2 * REPLY_OVERHEAD_BYTES
    else:
        assert len(frames) == 2


@pytest.mark.parametrize(
    ("request_mti", "expected"),
    [
        (100, 110),
        (101, 110),
        (120, 130),
        (121, 130),
        (400, 410),
        (421, 430),
        (800, 810),
        (605, 614),
    ],
)
def test_reply_mti_raises_the_function_and_clears_the_repeat(
    request_mti: int, expected: int
) -> None:
    """Function + 1, origins 0/1, 2/3 and 4/5 become 0, 2 and 4."""
    assert reply_mti(request_mti) == expected
