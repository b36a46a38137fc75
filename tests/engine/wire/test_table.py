"""Dialects as arrays: rows, masks and codes are those of the dialects."""

import pytest

from engine.decision import Decision
from engine.wire.dialect import Use
from engine.wire.table import Char, character_classes, compile_dialects, mask_words
from tests.engine.wire.support import BIN, HEX, TABLE


def test_rows_stand_in_the_order_of_the_dialects() -> None:
    """Row 1 is the second dialect: hex bitmaps, binary fields of double length."""
    assert TABLE.framing["bitmap_hex"][:2].tolist() == [0, 1]
    assert TABLE.fields[:2, 52]["size"].tolist() == [8, 16]
    assert TABLE.number_of[0, Use.STAN] == 11


def test_repeats_share_the_row_of_their_message() -> None:
    """0101 is read by the rules of 0100; what is not described has row 0."""
    assert TABLE.message_of[0, 100] == TABLE.message_of[0, 101] > 0
    assert TABLE.message_of[0, 600] == 0
    assert TABLE.message_of[0, 110] == 0


def test_response_codes_hold_the_first_character_in_the_low_byte() -> None:
    """Every decision has two characters, as the REPLY column keeps them."""
    code = int(TABLE.responses[0, Decision.NOT_ENOUGH_FUNDS])
    assert code.to_bytes(2, "little") == b"51"
    assert all(TABLE.responses[1, decision] for decision in Decision)


def test_mask_words_put_field_one_in_the_top_bit() -> None:
    """Field n is bit 64 - n of the first word or 128 - n of the second."""
    assert mask_words([2, 64, 65, 128]) == ((1 << 62) | 1, (1 << 63) | 1)


def test_character_classes_hold_their_bytes() -> None:
    """A space is a word and printable character and no digit; 0x80 is only a byte."""
    chars = character_classes()
    assert chars[ord(" ")] & Char.WORD
    assert not chars[ord(" ")] & Char.DIGIT
    assert chars[0x80] == Char.ANY


def test_number_of_dialects_is_bounded() -> None:
    """None and more than 64 dialects are refused."""
    for dialects in ([], [BIN, HEX] * 33):
        with pytest.raises(ValueError, match="dialects: 1 to 64"):
            compile_dialects(dialects)
