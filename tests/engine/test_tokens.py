"""Tokens are CMACs of the card number's block, a batch at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tokens import Tokenizer, pan_block, pan_blocks
from ledger.pan import Pan
from tests.oracle.cmac import block_of, token_of

pans = st.text("0123456789", min_size=12, max_size=19)
keys = st.sampled_from([16, 24, 32]).flatmap(lambda size: st.binary(min_size=size, max_size=size))


def test_published_vector() -> None:
    """RFC 4493, example 2: the CMAC of one block."""
    block = np.frombuffer(bytes.fromhex("6bc1bee22e409f96e93d7e117393172a"), np.uint8)
    out = np.zeros((1, 2), np.uint64)
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    Tokenizer(key).tokens(block.reshape(1, 16).copy(), 1, out)
    assert out.tobytes().hex() == "070a16b46b4d4144f79bdd9dd04a287c"


@given(keys, st.lists(pans, max_size=20))
def test_batch_agrees_with_one_at_a_time(key: bytes, numbers: list[str]) -> None:
    """A batch in one AES call gives the tokens that a CMAC of each gives."""
    out = Tokenizer(key).of_pans([Pan(number) for number in numbers])
    expected = [token_of(key, block_of(number)) for number in numbers]
    assert [tuple(row) for row in out.tolist()] == expected


@given(st.lists(pans, min_size=1, max_size=20))
def test_blocks_follow_the_layout(numbers: list[str]) -> None:
    """List, matrix and single number give the block written out nibble by nibble."""
    expected = [block_of(number) for number in numbers]
    matrix = np.array(numbers, "S19").view(np.uint8).reshape(-1, 19)
    assert [row.tobytes() for row in pan_blocks(numbers)] == expected
    assert [row.tobytes() for row in pan_blocks(matrix)] == expected
    assert [pan_block(number) for number in numbers] == expected


def test_batches_of_any_size_share_a_tokenizer() -> None:
    """Buffers that grew for a large batch serve a small one, and rows past n stay as they were."""
    tokenizer = Tokenizer(bytes(32))
    blocks = pan_blocks([f"4{i:015d}" for i in range(50)])
    whole = np.zeros((50, 2), np.uint64)
    tokenizer.tokens(blocks, 50, whole)
    part = np.zeros((50, 2), np.uint64)
    tokenizer.tokens(blocks, 7, part)
    tokenizer.tokens(blocks, 0, part)
    assert np.array_equal(part[:7], whole[:7])
    assert not part[7:].any()


def test_length_is_part_of_the_token() -> None:
    """A number and the same number with a zero before or after have different tokens."""
    tokens = Tokenizer(bytes(32)).of_pans(
        [Pan("123456789012"), Pan("0123456789012"), Pan("1234567890120")]
    )
    assert len({tuple(row) for row in tokens.tolist()}) == 3


@pytest.mark.parametrize(
    "number",
    [
        "",
        "1" * 11,
        "1" * 20,
        "1" * 40,
        "12345678901x",
        "123456 789012",
        "\uff14" * 16,
        "1" * 6 + "\0" + "1" * 6,
    ],
)
def test_other_text_is_refused(number: str) -> None:
    """What is not 12 to 19 digits has no block, and the error does not repeat it."""
    for make in (lambda: pan_block(number), lambda: pan_blocks(["4" * 16, number])):
        with pytest.raises(ValueError, match="12 to 19 digits") as refusal:
            make()
        assert str(refusal.value) == "a card number has 12 to 19 digits"
