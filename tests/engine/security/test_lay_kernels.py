"""Kernels that lay out, copy and read bytes, each against a naive twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.security.lay_kernels import lay_blocks, put_macs, read_track2, take_bytes
from engine.wire.elements import Code
from tests.oracle import security as oracle
from tests.support.effort import examples

pytestmark = pytest.mark.kernels
_CODES = [Code.RAW, Code.ASCII_HEX, Code.EBCDIC_HEX]


@given(
    messages=st.lists(st.binary(max_size=50), min_size=1, max_size=6),
    block=st.sampled_from([8, 16]),
    marked=st.integers(0, 2),
    mixed=st.binary(min_size=32, max_size=32),
)
def test_blocks_are_those_of_the_twin(
    messages: list[bytes], block: int, marked: int, mixed: bytes
) -> None:
    """Every padding, messages of any length; last blocks are mixed with what belongs to them."""
    messages.sort(key=len, reverse=True)
    data = np.frombuffer(b"".join(messages[::-1]) + b"\0", np.uint8).copy()
    sizes = np.array([len(message) for message in messages], np.int64)
    starts = np.cumsum(sizes[::-1])[::-1] - sizes
    tails = np.frombuffer(mixed[: 2 * block], np.uint64).reshape(2, -1).copy()
    expected = [oracle.blocks(message, block, marked) for message in messages]
    steps = max(map(len, expected))
    out = np.full((steps, len(messages), block // 8), 0xEE, np.uint64)
    running = np.full(steps + 1, 7, np.int64)

    lay_blocks(data, starts, sizes, np.arange(len(messages)), marked, tails, out, running)

    for i, blocks in enumerate(expected):
        is_whole = len(messages[i]) % block == 0 and messages[i] != b""
        tail = mixed[block * is_whole :][:block]
        last = bytes(a ^ b for a, b in zip(blocks[-1], tail, strict=True))
        assert [out[k, i].tobytes() for k in range(len(blocks))] == [*blocks[:-1], last]
    assert running.tolist() == [sum(len(b) > k for b in expected) for k in range(steps + 1)]


@given(values=st.lists(st.binary(min_size=8, max_size=8), min_size=1, max_size=5), data=st.data())
def test_what_is_put_is_taken(values: list[bytes], data: st.DataObject) -> None:
    """Raw, in hex and in EBCDIC hex; the wire form is the twin's."""
    codes = np.array([data.draw(st.sampled_from(_CODES)) for _ in values], np.uint8)
    places = np.arange(len(values), dtype=np.int64) * 20 + 3
    out = np.zeros(20 * len(values) + 8, np.uint8)
    macs = np.array([list(value) for value in values], np.uint8)

    sizes = np.array([data.draw(st.sampled_from([4, 8])) for _ in values], np.int64)
    put_macs(macs, places, sizes, codes, out)
    taken = np.zeros_like(macs)
    take_bytes(out, places, sizes, codes, taken)

    for row, (value, code, at) in enumerate(zip(values, codes, places.tolist(), strict=True)):
        wire = oracle.written(value[: sizes[row]], Code(int(code)))
        assert out[at : at + 19].tobytes() == wire.ljust(19, b"\0"), "and nothing behind it"
        assert taken[row].tobytes() == value[: sizes[row]].ljust(8, b"\0")


@given(
    digits=st.from_regex(r"[0-9]{12,19}=[0-9]{0,20}", fullmatch=True),
    skip=st.integers(0, 8),
    code=st.sampled_from([Code.ASCII, Code.EBCDIC, Code.BCD, Code.BCD_LEFT]),
)
@settings(max_examples=examples(200))
def test_track_2_is_read_as_the_twin_reads_it(digits: str, skip: int, code: Code) -> None:
    """Expiry, service code and CVV behind the separator, whatever the track is written in."""
    wire = oracle.track_bytes(digits, code)
    out = np.zeros((1, 3), np.int64)

    read_track2(
        np.frombuffer(wire, np.uint8).copy(),
        np.zeros(1, np.int64),
        np.array([len(wire)], np.int64),
        np.array([code], np.uint8),
        skip,
        out,
    )

    assert out[0].tolist() == oracle.track_values(digits, skip)
