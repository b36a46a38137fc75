"""Reading replies and answering requests in kernels against the plain reader."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.echo_kernels import echo
from bench.frames import encode
from bench.reply_kernels import read_reply, reply_widths
from bench.workload import Workload
from tests.oracle import load as oracle

pytestmark = pytest.mark.kernels

_FIELDS = list(range(2, 40))
_ORDERS = Workload(50, 2_000, 2, 1).orders()


def _read(frame: bytes, dialect: str):
    out = np.zeros(5, dtype=np.int64)
    read_reply(np.array(bytearray(frame) or bytearray(1), np.uint8)[: len(frame)],
               reply_widths(dialect), out)  # fmt: skip
    if out[0] < 0:
        return None
    approval = b"" if out[3] == 0 else int(out[3]).to_bytes(6, "little")
    code = b"" if out[4] < 0 else int(out[4]).to_bytes(2, "little")
    return int(out[0]), int(out[1]), int(out[2]), approval, code


@st.composite
def _replies(draw: st.DrawFn, dialect: str) -> bytes:
    digit = st.sampled_from(b"0123456789")
    fields = draw(st.sets(st.sampled_from(_FIELDS), max_size=16))
    secondary = draw(st.booleans())
    bits = sum(1 << (64 - field) for field in fields) | (int(secondary) << 63)
    bitmap = bits.to_bytes(8, "big") + bytes(8 * secondary)
    body = b""
    for field in sorted(fields):
        size = oracle.FIXED.get(field)
        if size is None:
            size = draw(st.integers(0, 19))
            body += b"%0*d" % (oracle.PREFIXED[field], size)
        body += bytes(draw(st.lists(digit, min_size=size, max_size=size)))
    if dialect == "iso87-hex":
        bitmap = bitmap.hex().encode()
        bitmap = bitmap.upper() if draw(st.booleans()) else bitmap
    return b"0110" + bitmap + body


@pytest.mark.parametrize("dialect", ["iso87-bin", "iso87-hex"])
@given(data=st.data())
def test_reader_agrees_with_the_oracle_on_damaged_replies(dialect: str, data) -> None:
    """Well-formed replies, cut ones and ones with changed bytes read as the oracle reads them."""
    frame = bytearray(data.draw(_replies(dialect)))
    for at, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(frame) - 1), st.integers(0, 255)), max_size=2)
    ):
        frame[at] = value
    cut = data.draw(st.integers(0, len(frame)) | st.just(len(frame)))
    whole = bytes(frame[:cut])
    expected = oracle.read_reply(whole, hexadecimal=dialect == "iso87-hex")
    if expected is not None and expected[3] == bytes(6):
        return  # six NUL characters read as an absent DE38
    assert _read(whole, dialect) == expected


@given(st.binary(max_size=200))
@example(b"")
def test_reader_survives_any_bytes(frame: bytes) -> None:
    """Random bytes are read or refused, never read past their end."""
    for dialect in ("iso87-bin", "iso87-hex"):
        _read(frame, dialect)


@pytest.mark.parametrize("dialect", ["iso87-bin", "iso87-hex"])
@pytest.mark.parametrize("mti", [100, 101, 420])
@given(cut=st.integers(0, 400), rows=st.integers(1, 4))
def test_echo_answers_whole_frames_and_keeps_the_rest(
    dialect: str, mti: int, cut: int, rows: int
) -> None:
    """Every whole frame is answered 00 with its STAN and DE37; a cut frame waits."""
    frames = encode(_ORDERS[:rows], first_number=500, dialect=dialect, mti=mti)
    data = frames.buffer.copy()
    end = min(cut, data.size)
    out = np.zeros(2_048, dtype=np.uint8)
    taken, written = echo(data, end, reply_widths(dialect), out)
    whole = int(np.searchsorted(frames.offsets, end, side="right")) - 1
    assert taken == frames.offsets[whole]
    at = 0
    for row in range(whole):
        size = int.from_bytes(bytes(out[at : at + 2]), "big")
        reply = oracle.read_reply(
            bytes(out[at + 2 : at + 2 + size]), hexadecimal=dialect == "iso87-hex"
        )
        answered = {100: 110, 101: 110, 420: 430}[mti]
        assert reply == (answered, 501 + row, 500 + row, b"%06d" % (500 + row), b"00")
        at += 2 + size
    assert at == written


@given(st.binary(min_size=2, max_size=300))
def test_echo_survives_any_bytes(data: bytes) -> None:
    """Random bytes are taken, left or refused, and the answer fits."""
    out = np.zeros(1_024, dtype=np.uint8)
    taken, written = echo(
        np.array(bytearray(data), np.uint8), len(data), reply_widths("iso87-bin"), out
    )
    assert -1 <= taken <= len(data)
    assert 0 <= written <= out.size
