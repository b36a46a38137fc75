"""PVV, IBM 3624 offsets and card verification values against psec."""

import numpy as np
import psec.cvv
import psec.pin
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.security.card_values import cvvs, natural_pins, offsets, pvvs
from engine.security.ciphers import SoftCipher
from engine.security.digits import Bytes
from engine.security.keys import Usage
from engine.tokens import pan_blocks
from tests.support.effort import examples

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
_KEYS = st.binary(min_size=16, max_size=16)
_PANS = st.lists(st.from_regex(r"[1-9][0-9]{12,18}", fullmatch=True), min_size=1, max_size=6)


def _rows(texts: list[str]) -> Bytes:
    return np.array([[int(c) for c in text] for text in texts], np.uint8)


def _text(row: Bytes) -> str:
    return "".join(map(str, row.tolist()))


@given(
    key=_KEYS, pans=_PANS, pin=st.from_regex(r"[0-9]{4}", fullmatch=True), index=st.integers(0, 9)
)
@settings(max_examples=examples(60), deadline=None)
def test_pvvs_equal_psec(key: bytes, pans: list[str], pin: str, index: int) -> None:
    """Many cards in one call."""
    cipher = SoftCipher(bytearray(key), "T", Usage.PVK_VISA.ops)
    indexes = np.full(len(pans), index, np.uint8)

    made = pvvs(cipher, pan_blocks(pans), indexes, _rows([pin] * len(pans)))

    expected = [psec.pin.generate_visa_pvv(key, str(index), pin, pan) for pan in pans]
    assert [_text(row) for row in made] == expected


@given(
    key=_KEYS,
    pans=st.lists(st.from_regex(r"[1-9][0-9]{15,18}", fullmatch=True), min_size=1, max_size=5),
    pin=st.from_regex(r"[0-9]{4,12}", fullmatch=True),
    table=st.permutations("0123456789012345").map("".join),
    first=st.integers(0, 4),
)
@settings(max_examples=examples(60), deadline=None)
def test_offsets_equal_psec(key: bytes, pans: list[str], pin: str, table: str, first: int) -> None:
    """IBM 3624 with any decimalisation table and validation data."""
    cipher = SoftCipher(bytearray(key), "T", Usage.PVK_IBM.ops)
    size = 12

    natural = natural_pins(cipher, pan_blocks(pans), table, first, size, filler=15)
    made = offsets(natural, _rows([pin] * len(pans)))

    expected = [
        psec.pin.generate_ibm3624_offset(key, table, pin, pan, first, size, "F") for pan in pans
    ]
    assert [_text(row) for row in made] == expected


@given(
    key=_KEYS,
    pans=_PANS,
    date=st.from_regex(r"[0-9]{4}", fullmatch=True),
    service=st.sampled_from(["000", "101", "201", "999"]),
)
@settings(max_examples=examples(60), deadline=None)
def test_cvvs_equal_psec(key: bytes, pans: list[str], date: str, service: str) -> None:
    """CVV of a track, CVV2 (000) and iCVV (999)."""
    cipher = SoftCipher(bytearray(key), "T", Usage.CVK.ops)
    dates = np.full(len(pans), int(date), np.int64)
    services = np.full(len(pans), int(service), np.int64)

    made = cvvs(cipher, pan_blocks(pans), dates, services)

    expected = [psec.cvv.generate_cvv(key, pan, date, service) for pan in pans if len(pan) < 19]
    assert [_text(row) for row, pan in zip(made, pans, strict=True) if len(pan) < 19] == expected


def test_published_examples() -> None:
    """PVV 4021 and CVV 561 of the documentation of psec; keys and cards of common test tools."""
    pvk = SoftCipher(bytearray.fromhex("0123456789ABCDEFFEDCBA9876543210"), "T", Usage.PVK_VISA.ops)
    cvk = SoftCipher(bytearray.fromhex("0123456789ABCDEFFEDCBA9876543210"), "T", Usage.CVK.ops)

    pvv = pvvs(pvk, pan_blocks(["1122334455667788"]), np.array([3], np.uint8), _rows(["4524"]))
    cvv = cvvs(cvk, pan_blocks(["4123456789012345"]), np.array([8701]), np.array([101]))

    assert _text(pvv[0]) == "4021"
    assert _text(cvv[0]) == "561"
