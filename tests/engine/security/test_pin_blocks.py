"""PIN blocks against psec and published examples; translation; blocks that are not right."""

import numpy as np
import psec.aes
import psec.des
import psec.pinblock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.security.ciphers import SoftCipher
from engine.security.digits import as_rows
from engine.security.errors import KeyUsageError
from engine.security.keys import Usage
from engine.security.pin_blocks import FORMATS, Pins, block_bytes, make_blocks, read_pins, translate
from engine.tokens import pan_blocks
from tests.support.effort import examples

pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
_KEY, _OTHER = bytes(range(16)), bytes(range(50, 66))
_PINS = st.lists(st.from_regex(r"[0-9]{4,12}", fullmatch=True), min_size=1, max_size=6)
_PAN = st.from_regex(r"[1-9][0-9]{12,18}", fullmatch=True)


def _cipher(block_format: int, value: bytes = _KEY) -> SoftCipher:
    return SoftCipher(bytearray(value), "A" if block_format == 4 else "T", Usage.PIN.ops)


def _pins(texts: list[str]) -> Pins:
    digits = np.zeros((len(texts), 12), np.uint8)
    for row, text in enumerate(texts):
        digits[row, : len(text)] = [int(c) for c in text]
    sizes = np.array([len(text) for text in texts], np.int64)
    return Pins(digits, sizes, np.ones(len(texts), np.bool_))


def _texts(pins: Pins) -> list[str]:
    rows = zip(pins.digits.tolist(), pins.sizes.tolist(), strict=True)
    return ["".join(map(str, digits[:size])) for digits, size in rows]


@pytest.mark.parametrize("block_format", FORMATS)
@given(texts=_PINS, data=st.data())
@settings(max_examples=examples(30), deadline=None)
def test_what_is_made_is_read(block_format: int, texts: list[str], data: st.DataObject) -> None:
    """Every format gives back the PINs that went in, of all lengths, for cards of all lengths."""
    pans = [data.draw(_PAN) for _ in texts]

    made = make_blocks(_cipher(block_format), block_format, _pins(texts), pan_blocks(pans))
    read = read_pins(_cipher(block_format), block_format, made, pan_blocks(pans))

    assert made.shape == (len(texts), block_bytes(block_format))
    assert _texts(read) == texts
    assert read.is_right.all()


@given(pin=st.from_regex(r"[0-9]{4,12}", fullmatch=True), pan=_PAN)
@settings(max_examples=examples(30), deadline=None)
def test_blocks_of_psec_are_read(pin: str, pan: str) -> None:
    """Formats 0, 3 and 4 as an independent library makes them; format 0 is byte-equal ours."""
    card = pan_blocks([pan])
    clear = psec.pinblock.encode_pinblock_iso_0(pin, pan)
    zero = psec.des.encrypt_tdes_ecb(_KEY, clear)
    three = psec.des.encrypt_tdes_ecb(_KEY, psec.pinblock.encode_pinblock_iso_3(pin, pan))
    four = psec.pinblock.encipher_pinblock_iso_4(_KEY, pin, pan)

    assert make_blocks(_cipher(0), 0, _pins([pin]), card).tobytes() == zero
    for block_format, block in ((0, zero), (3, three), (4, four)):
        rows = as_rows(block, block_bytes(block_format))
        assert _texts(read_pins(_cipher(block_format), block_format, rows, card)) == [pin]


def test_example_of_iso_9564_format_0() -> None:
    """PIN 92389 of card 4000001234562 is 0592789FFFEDCBA9 (example of ISO 9564-1, as published)."""
    made = make_blocks(_cipher(0), 0, _pins(["92389"]), pan_blocks(["4000001234562"]))

    assert psec.des.decrypt_tdes_ecb(_KEY, made.tobytes()).hex().upper() == "0592789FFFEDCBA9"


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("target", FORMATS)
def test_translation_between_keys_and_formats(source: int, target: int) -> None:
    """A block under one key comes out under another in another format; not into format 1."""
    texts, pans = ["1234", "987654321098"], ["4111111111111111", "5555555555554444"]
    cards = pan_blocks(pans)
    made = make_blocks(_cipher(source), source, _pins(texts), cards)
    if target == 1 and source != 1:
        with pytest.raises(KeyUsageError, match="format 1"):
            translate(_cipher(source), source, _cipher(target, _OTHER), target, made, cards)
        return

    moved, is_right = translate(
        _cipher(source), source, _cipher(target, _OTHER), target, made, cards
    )

    assert is_right.all()
    assert _texts(read_pins(_cipher(target, _OTHER), target, moved, cards)) == texts


@pytest.mark.parametrize("block_format", [0, 3, 4])
def test_another_key_or_card_is_not_right(block_format: int) -> None:
    """A block under another key, or of another card, has no digits; its neighbours do."""
    pans = ["4111111111111111"] * 3
    made = make_blocks(_cipher(block_format), block_format, _pins(["1234"] * 3), pan_blocks(pans))
    foreign = make_blocks(
        _cipher(block_format, _OTHER), block_format, _pins(["1234"]), pan_blocks(pans[:1])
    )
    made[1] = foreign[0]

    read = read_pins(_cipher(block_format), block_format, made, pan_blocks(pans))

    assert read.is_right.tolist() == [True, False, True]
    assert read.digits[1].tolist() == [0] * 12


def test_a_key_of_the_wrong_kind_is_refused() -> None:
    """Format 4 needs AES, the others TDES; other formats are not served."""
    card = pan_blocks(["4111111111111111"])
    for cipher, block_format in ((_cipher(0), 4), (_cipher(4), 0), (_cipher(0), 2)):
        with pytest.raises(KeyUsageError, match=f"format {block_format}"):
            make_blocks(cipher, block_format, _pins(["1234"]), card)


def test_clear_pins_do_not_print_and_are_overwritten() -> None:
    """The type hides its digits and gives them up on request."""
    pins = _pins(["7391"])

    assert "7" not in repr(pins)
    pins.wipe()
    assert not pins.digits.any()
