"""SipHash kernels against the authors' vectors and the plain oracle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.siphash import siphash128_words, siphash_bytes, siphash_bytes_word
from tests.oracle import siphash as oracle

pytestmark = pytest.mark.kernels

K0 = np.uint64(0x0706050403020100)
K1 = np.uint64(0x0F0E0D0C0B0A0908)
WORD = st.integers(0, (1 << 64) - 1)


def _array(data: bytes) -> np.ndarray:
    return np.array(bytearray(data) or bytearray(1), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "310e0edd47db6f72"), (8, "6224939a79f5f593"), (15, "e545be4961ca29a1")],
)
def test_siphash_bytes_gives_the_published_vectors(size: int, expected: str) -> None:
    """The key and input of the authors' table give the authors' output."""
    got = siphash_bytes(K0, K1, _array(bytes(range(size))), 0, size)
    assert int(got).to_bytes(8, "little").hex() == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "a3817f04ba25a8e66df67214c7550293"),
        (1, "3b62a9ba6258f5610f83e264f31497b4"),
        (2, "6ee2a4ca67b054bbfd3315bf85230577"),
        (3, "2db479ae78bd50d8882a8a178a6132ad"),
    ],
)
def test_siphash128_words_gives_the_published_vectors(count: int, expected: str) -> None:
    """The 128-bit variant gives the authors' output, low word first."""
    words = np.array(np.frombuffer(bytes(range(8 * 4)), dtype="<u8"))
    high, low = siphash128_words(K0, K1, words, count)
    got = int(low).to_bytes(8, "little") + int(high).to_bytes(8, "little")
    assert got.hex() == expected


@given(k0=WORD, k1=WORD, data=st.binary(max_size=70), pad=st.integers(0, 9), word=WORD)
def test_siphash_kernels_equal_the_oracle(
    k0: int, k1: int, data: bytes, pad: int, word: int
) -> None:
    """Any key, offset and length: kernels and plain Python agree."""
    array = _array(b"\xaa" * pad + data)
    key = np.uint64(k0), np.uint64(k1)
    assert int(siphash_bytes(*key, array, pad, len(data))) == oracle.siphash(k0, k1, data)
    joined = data + word.to_bytes(8, "little")
    got = siphash_bytes_word(*key, array, pad, len(data), np.uint64(word))
    assert int(got) == oracle.siphash(k0, k1, joined)


@given(k0=WORD, k1=WORD, words=st.lists(WORD, max_size=12))
def test_siphash128_words_equals_the_oracle(k0: int, k1: int, words: list[int]) -> None:
    """Any key and word count: the 128-bit kernel and plain Python agree."""
    array = np.array([*words, 0], dtype=np.uint64)
    high, low = siphash128_words(np.uint64(k0), np.uint64(k1), array, len(words))
    data = b"".join(w.to_bytes(8, "little") for w in words)
    expected = oracle.siphash128(k0, k1, data)
    assert int(low).to_bytes(8, "little") + int(high).to_bytes(8, "little") == expected
