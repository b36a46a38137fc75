"""Single DES in the kernel against the library's TDES with one key three times."""

import numpy as np
import psec.des
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.security.des_kernels import SP, des_chains, schedule
from tests.support.effort import examples

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]


def _chains(key: bytes, messages: list[bytes]) -> list[bytes]:
    """Return the last block of each chain; messages are whole blocks, the longest first."""
    steps = max(len(messages[0]) // 8, 1)
    blocks = np.zeros((steps, len(messages), 8), np.uint8)
    for i, message in enumerate(messages):
        rows = np.frombuffer(message, np.uint8).reshape(-1, 8)
        blocks[: len(rows), i] = rows
    inner = np.array([sum(len(m) > 8 * k for m in messages) for k in range(steps)], np.int64)
    chain = np.full((len(messages), 8), 0xEE, np.uint8)
    des_chains(blocks, inner, schedule(key), SP, chain)
    return [row.tobytes() for row in chain]


@given(
    key=st.binary(min_size=8, max_size=8),
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=7),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=examples(60), deadline=None)
def test_chains_equal_the_library(key: bytes, lengths: list[int], seed: int) -> None:
    """CBC from zeros over any number of blocks, many messages at once, none of some."""
    random = np.random.default_rng(seed)
    messages = [random.bytes(8 * length) for length in sorted(lengths, reverse=True)]

    expected = [
        psec.des.encrypt_tdes_cbc(key * 2, bytes(8), m)[-8:] if m else bytes(8) for m in messages
    ]

    assert _chains(key, messages) == expected


def test_published_example() -> None:
    """Key 133457799BBCDFF1, block 0123456789ABCDEF: 85E813540F0AB405, the textbook example."""
    key, block = bytes.fromhex("133457799BBCDFF1"), bytes.fromhex("0123456789ABCDEF")

    assert _chains(key, [block]) == [bytes.fromhex("85E813540F0AB405")]
