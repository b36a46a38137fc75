"""MACs of TDES keys by tables and bit by bit, against the library's TDES."""

from collections.abc import Callable

import numpy as np
import psec.des
import psec.mac
import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.security.ciphers import cmac_subkeys
from engine.security.des_kernels import SP, passes, table_macs
from engine.security.des_slices import LANES, SCRATCH_WORDS, sliced_macs
from tests.support.effort import examples

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]
Macs = Callable[..., list[bytes]]
_ZEROS, _MARK, _CMAC = 0, 1, 2
_SINGLE, _WHOLE = 1, 3  # passes over inner blocks
_NO_TAILS = np.zeros(2, np.uint64)


def _arguments(messages: list[bytes]) -> tuple[np.ndarray, ...]:
    data = np.frombuffer(b"\xee" + b"".join(messages) + b"\xee" * 8, np.uint8).copy()
    sizes = np.array([len(message) for message in messages], np.int64)
    return data, 1 + np.cumsum(sizes) - sizes, sizes, np.argsort(-sizes)


def _by_table(
    key: bytes, messages: list[bytes], marked: int, inner: int, tails: np.ndarray = _NO_TAILS
) -> list[bytes]:
    out = np.full((len(messages), 8), 0xEE, np.uint8)
    table_macs(*_arguments(messages), marked, inner, passes(key), tails, SP, out)
    return [row.tobytes() for row in out]


def _by_slices(
    key: bytes, messages: list[bytes], marked: int, inner: int, tails: np.ndarray = _NO_TAILS
) -> list[bytes]:
    out = np.full((len(messages), 8), 0xEE, np.uint8)
    data, starts, sizes, order = _arguments(messages)
    for first in range(0, len(order), LANES):
        rows, scratch = order[first : first + LANES], np.full(SCRATCH_WORDS, 0xEE, np.uint64)
        sliced_macs(data, starts, sizes, rows, marked, inner, passes(key), tails, scratch, out)
        assert not scratch.any(), "no key and no message stays behind"
    return [row.tobytes() for row in out]


_both = pytest.mark.parametrize("macs", [_by_table, _by_slices])


def _message_sizes() -> st.SearchStrategy[list[int]]:
    """Few messages of any length; sometimes more than run together, of two lengths or three."""
    few = st.lists(st.integers(0, 90), min_size=1, max_size=9)
    many = st.lists(st.sampled_from([0, 8, 21]), min_size=LANES - 1, max_size=LANES + 2)
    return few | many


@_both
@given(
    key=st.binary(min_size=16, max_size=16),
    sizes=_message_sizes(),
    marked=st.sampled_from([_ZEROS, _MARK]),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=examples(40), deadline=None)
def test_algorithms_1_and_3_equal_the_library(
    macs: Macs, key: bytes, sizes: list[int], marked: int, seed: int
) -> None:
    """Empty messages, whole blocks and cut ones, both paddings, many lengths in one call."""
    random = np.random.default_rng(seed)
    messages = [random.bytes(size) for size in sizes]
    # The library takes an empty message under method 1 for none at all; ours is one block of zeros.
    theirs = [m or bytes(8 * (marked == _ZEROS)) for m in messages]

    retail = [psec.mac.generate_retail_mac(key[:8], key[8:], m, marked + 1) for m in theirs]
    chained = [psec.mac.generate_cbc_mac(key, m, marked + 1) for m in theirs]

    assert macs(key, messages, marked, _SINGLE) == retail
    assert macs(key, messages, marked, _WHOLE) == chained


@_both
@given(key=st.binary(min_size=24, max_size=24), messages=st.lists(st.binary(max_size=40)))
@settings(max_examples=examples(40), deadline=None)
def test_cmac_under_a_key_of_three_equals_the_library(
    macs: Macs, key: bytes, messages: list[bytes]
) -> None:
    """Three keys that differ; last blocks are mixed with K1 when whole, with K2 when filled."""
    expected = []
    for message in messages:
        one = CMAC(TripleDES(key))
        one.update(message)
        expected.append(one.finalize())
    k1, k2 = cmac_subkeys(psec.des.encrypt_tdes_ecb(key, bytes(8)))
    tails = np.frombuffer(k2 + k1, ">u8").astype(np.uint64)

    assert macs(key, messages, _CMAC, _WHOLE, tails) == expected


@_both
def test_published_example(macs: Macs) -> None:
    """Key 133457799BBCDFF1, block 0123456789ABCDEF: 85E813540F0AB405, the textbook example."""
    key, block = bytes.fromhex("133457799BBCDFF1"), bytes.fromhex("0123456789ABCDEF")

    assert macs(key * 2, [block], _ZEROS, _SINGLE) == [bytes.fromhex("85E813540F0AB405")]
