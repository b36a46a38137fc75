"""Chip cryptograms against pyemv, in every version served, and chip data that is not right."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyemv import cvn

from engine.security.chip import (
    ChipData,
    arpc,
    card_key,
    cryptogram,
    read_chip,
    read_tlv,
    session_key,
)
from engine.security.ciphers import SoftCipher
from engine.security.keys import Usage
from tests.engine.security.chip_cards import (
    MCHIP_16,
    MCHIP_17,
    MCHIP_20,
    MCHIP_21,
    VISA_10,
    VISA_18,
    ChipCard,
    tlv,
)
from tests.support.effort import examples

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
_CASES: list[tuple[str, ChipCard, Any]] = [
    ("visa", VISA_10, cvn.VisaCVN10),
    ("visa", VISA_18, cvn.VisaCVN18),
    ("mchip", MCHIP_16, cvn.MasterCardCVN16),
    ("mchip", MCHIP_17, cvn.MasterCardCVN17),
    ("mchip", MCHIP_20, cvn.MasterCardCVN20),
    ("mchip", MCHIP_21, cvn.MasterCardCVN21),
]
EACH = pytest.mark.parametrize(("scheme", "card", "kind"), _CASES)


@EACH
@given(
    master=st.binary(min_size=16, max_size=16),
    pan=st.from_regex(r"[0-9]{13,16}", fullmatch=True),
    sequence=st.integers(0, 99),
    atc=st.integers(0, 0xFFFF),
    number=st.binary(min_size=4, max_size=4),
    is_approved=st.booleans(),
)
@settings(max_examples=examples(20), deadline=None)
def test_arqc_and_arpc_equal_pyemv(
    scheme: str, card: ChipCard, kind: Any, master: bytes, pan: str, sequence: int, atc: int,
    number: bytes, is_approved: bool,
) -> None:  # fmt: skip
    """The card's cryptogram and our answer to it, whatever key, card, counter and terminal."""
    theirs = kind(master, master, master, pan, f"{sequence:02d}")
    changes = {"t9F36": f"{atc:04x}", "t9F37": number.hex()}
    arqc = card.cryptogram(theirs, **changes)
    chip = read_chip(scheme, tlv({**card.values(**changes), 0x9F26: arqc}))
    assert isinstance(chip, ChipData)
    issuer = SoftCipher(bytearray(master), "T", Usage.IMK_AC.ops)

    own = card_key(issuer, pan, sequence)
    session = session_key(scheme, own, chip)

    assert cryptogram(session, chip) == arqc
    answer = arpc(scheme, own, session, chip, b"05", is_approved=is_approved)
    if card is VISA_18:
        status = bytes.fromhex("00800000" if is_approved else "00400000")
        assert answer == bytes(theirs.generate_arpc(arqc, chip.atc, status)) + status
    elif card in (MCHIP_20, MCHIP_21):
        assert answer == bytes(theirs.generate_arpc(arqc, chip.atc, b"05")) + b"05"
    else:
        assert answer == bytes(theirs.generate_arpc(arqc, b"05")) + b"05"


def test_other_cryptograms_are_not_looked_at() -> None:
    """No cryptogram, one of a completed payment, an unknown version: nothing to check."""
    tags = {**VISA_10.values(), 0x9F26: bytes(8)}

    assert read_chip("visa", tlv(VISA_10.values())) is None
    assert read_chip("visa", tlv({**tags, 0x9F27: b"\x40"})) is None
    assert read_chip("visa", tlv({**tags, 0x9F10: bytes.fromhex("06014203A4A002")})) is None
    assert read_chip("visa", tlv({**tags, 0x9F10: b"\x06"})) is None
    assert read_chip("mchip", tlv({**tags, 0x9F10: bytes(18)})) is None


@pytest.mark.parametrize("tag", [0x9F02, 0x95, 0x9F37, 0x9F36, 0x82])
def test_a_missing_or_short_signed_tag_is_named(tag: int) -> None:
    """What the cryptogram covers must be there, in its size; the error has no value in it."""
    tags = {**VISA_10.values(), 0x9F26: b"\xab" * 8}
    for wrong in ({t: v for t, v in tags.items() if t != tag}, {**tags, tag: b"\xcd"}):
        with pytest.raises(ValueError, match=f"tag {tag:X}") as caught:
            read_chip("visa", tlv(wrong) if len(wrong.get(tag, b"")) != 1 or tag != 0x9C else b"")
        assert "ab" not in str(caught.value).lower().replace("tag", "")


@given(st.binary(max_size=60))
@settings(max_examples=examples(300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """18: TLV that is cut or malformed is a ValueError, never anything else."""
    try:
        found = read_tlv(data)
    except ValueError:
        return
    assert sum(map(len, found.values())) <= len(data)


@pytest.mark.behaviour(18)
def test_unknown_tags_are_kept() -> None:
    """A tag that nobody asks for is read over, long ones and two-byte lengths too."""
    data = tlv({0xDF8101: b"x", 0x9F26: bytes(200), 0x5A: b"y"}) + b"\x00\xff"

    assert read_tlv(data) == {0xDF8101: b"x", 0x9F26: bytes(200), 0x5A: b"y"}
