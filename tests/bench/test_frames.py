"""Frames: what an independent codec reads is what was asked for."""

import iso8583
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso8583.specs import default, default_ascii

from bench import frame_kernels
from bench.frames import EXPIRY_YYMM, FRAME_CAP, Place, encode, stan_of, templates, test_pan
from bench.traffic import ORDER
from bench.workload import Workload
from tests.oracle import load as oracle

pytestmark = pytest.mark.kernels

_SPECS = {"iso87-bin": default, "iso87-hex": default_ascii}


def _decode(frames, row: int, dialect: str) -> dict[str, str]:
    data = bytes(frames.buffer[frames.offsets[row] : frames.offsets[row + 1]])
    assert int.from_bytes(data[:2], "big") == len(data) - 2
    decoded, _ = iso8583.decode(data[2:], _SPECS[dialect])
    return decoded


@pytest.mark.parametrize("dialect", ["iso87-bin", "iso87-hex"])
@given(
    amount=st.integers(0, 10**12 - 1),
    t_s=st.integers(0, 2**32 - 1),
    customer=st.integers(0, 10**9 - 1),
    terminal=st.integers(0, 10**7 - 1),
    mcc=st.integers(0, 9999),
    country=st.integers(0, 999),
    entry_mode=st.integers(0, 999),
    condition=st.integers(0, 99),
    number=st.integers(0, 10**12 - 2),
    mti=st.sampled_from([100, 101, 420]),
)
def test_an_independent_codec_reads_every_field(
    dialect, amount, t_s, customer, terminal, mcc, country, entry_mode, condition, number, mti
) -> None:
    """Each field of a frame, at any legal value, decodes to what the row says."""
    order = np.zeros(1, dtype=ORDER)
    order[0] = (amount, t_s, customer, terminal, mcc, country, entry_mode, condition, 0, 0)
    frames = encode(order, first_number=number, dialect=dialect, mti=mti)
    clock = oracle.clock(t_s)
    expected = {
        "t": f"{mti:04d}",
        "2": f"400000{customer:09d}" + str(oracle.check_digit(f"400000{customer:09d}")),
        "3": "000000",
        "4": f"{amount:012d}",
        "7": clock,
        "11": f"{number % 999_999 + 1:06d}",
        "12": clock[4:],
        "13": clock[:4],
        "14": EXPIRY_YYMM,
        "18": f"{mcc:04d}",
        "19": f"{country:03d}",
        "22": f"{entry_mode:03d}",
        "25": f"{condition:02d}",
        "32": "400099",
        "37": f"{number:012d}",
        "41": f"T{terminal:07d}",
        "42": f"M{terminal:014d}",
        "49": "840",
    }
    if mti == 420:
        expected["90"] = f"0100{expected['11']}{clock}{'400099':0>11}{'0' * 11}"
    decoded = _decode(frames, 0, dialect)
    assert {name: decoded[name] for name in expected} == expected
    assert set(decoded) - set(expected) <= {"p", "1"}


def test_a_repeat_differs_in_the_mti_only() -> None:
    """A 0101 is its 0100 with one other byte."""
    orders = Workload(20, 2_000, 3, 1).orders()
    first, again = encode(orders).buffer, encode(orders, mti=101).buffer
    assert np.flatnonzero(first != again).tolist() == [5 + 138 * row for row in range(len(orders))]


def test_messages_are_unique_and_stan_is_never_zero() -> None:
    """No two of a million consecutive numbers share a STAN; none is 000000."""
    stans = {stan_of(number) for number in range(5_000_000, 5_999_999)}
    assert len(stans) == 999_999
    assert min(stans) == 1


def test_the_run_clock_replaces_the_payment_time() -> None:
    """With ``clock_s`` every message has that DE7."""
    frames = encode(Workload(5, 2_000, 3, 1).orders()[:2], clock_s=1_709_210_096)
    assert [_decode(frames, row, "iso87-bin")["7"] for row in (0, 1)] == ["0229123456"] * 2


def test_places_are_the_kernels_columns() -> None:
    """The kernel's column numbers equal the enum they mirror; every frame fits the buffer."""
    for place in Place:
        assert getattr(frame_kernels, f"_{place.name}") == place
    assert templates("iso87-hex").places[:, Place.SIZE].max() <= FRAME_CAP


def test_bad_arguments_are_refused() -> None:
    """Unknown dialects and kinds, and numbers past twelve digits, are errors."""
    order = np.zeros(1, dtype=ORDER)
    for arguments in ({"dialect": "iso93"}, {"mti": 800}, {"first_number": 10**12}):
        with pytest.raises(ValueError, match=r"dialect|mti|twelve digits"):
            encode(order, **arguments)
    with pytest.raises(ValueError, match="nine digits"):
        test_pan(10**9)
