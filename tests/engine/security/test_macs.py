"""Message authentication codes against published vectors and an independent library."""

import numpy as np
import psec.mac
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.security.ciphers import SoftCipher
from engine.security.keys import Usage
from engine.security.macs import Padding, differ, macs
from tests.support.effort import examples

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning"),
]

_MESSAGES = st.lists(st.binary(min_size=1, max_size=90), min_size=1, max_size=9)
_KEY = st.binary(min_size=16, max_size=16)


def _all(
    key: bytes,
    usage: Usage,
    messages: list[bytes],
    padding: Padding = Padding.ZEROS,
    kind: str = "T",
    cipher: SoftCipher | None = None,
) -> list[bytes]:
    data = np.frombuffer(b"".join(messages) or b"\0", np.uint8).copy()
    sizes = np.array([len(message) for message in messages], np.int64)
    starts = np.cumsum(sizes) - sizes
    cipher = cipher or SoftCipher(bytearray(key), kind, usage.ops)
    return [row.tobytes() for row in macs(cipher, usage, padding, data, starts, sizes)]


@given(_KEY, _MESSAGES, st.sampled_from([Padding.ZEROS, Padding.MARK]))
@settings(max_examples=examples(60), deadline=None)
def test_retail_and_cbc_macs_equal_psec(
    key: bytes, messages: list[bytes], padding: Padding
) -> None:
    """Algorithms 3 and 1, both paddings, many messages of different lengths in one call."""
    method = 1 if padding == Padding.ZEROS else 2
    retail = [psec.mac.generate_retail_mac(key[:8], key[8:], m, method) for m in messages]
    chained = [psec.mac.generate_cbc_mac(key, m, method) for m in messages]

    assert _all(key, Usage.MAC_3, messages, padding) == retail
    assert _all(key, Usage.MAC_1, messages, padding) == chained


class _Closed(SoftCipher):
    """A key whose round keys do not come out, as in a security module."""

    def round_keys(self) -> None:
        """Return none."""


@given(
    _KEY,
    _MESSAGES | st.integers(38, 42).map(lambda n: [bytes([i]) * (i % 30 + 1) for i in range(n)]),
    st.sampled_from([Padding.ZEROS, Padding.MARK]),
    st.sampled_from([Usage.MAC_1, Usage.MAC_3, Usage.MAC_CMAC]),
)
@settings(max_examples=examples(60), deadline=None)
def test_keys_that_stay_closed_make_the_same(
    key: bytes, messages: list[bytes], padding: Padding, usage: Usage
) -> None:
    """In lockstep through the cipher, by tables and bit by bit: one result."""
    closed = _all(key, usage, messages, padding, cipher=_Closed(bytearray(key), "T", usage.ops))

    assert closed == _all(key, usage, messages, padding)


@given(_KEY, st.lists(st.binary(max_size=90), min_size=1, max_size=9))
@settings(max_examples=examples(60), deadline=None)
def test_cmacs_equal_the_library(key: bytes, messages: list[bytes]) -> None:
    """CMAC under AES of messages whose last block is whole, cut or missing."""
    expected = []
    for message in messages:
        one = CMAC(AES(key))
        one.update(message)
        expected.append(one.finalize()[:8])

    assert _all(key, Usage.MAC_CMAC, messages, kind="A") == expected


@pytest.mark.parametrize(
    ("size", "tag"),
    [
        (0, "bb1d6929e9593728"),
        (16, "070a16b46b4d4144"),
        (40, "dfa66747de9ae630"),
        (64, "51f0bebf7e3b9d92"),
    ],
)
def test_cmac_of_rfc_4493(size: int, tag: str) -> None:
    """The four examples of RFC 4493, section 4."""
    key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
    text = bytes.fromhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )

    assert _all(key, Usage.MAC_CMAC, [text[:size]], kind="A") == [bytes.fromhex(tag)]


def test_a_large_batch_is_laid_out_in_pieces() -> None:
    """Messages whose blocks take more than one piece of room have the MACs they have alone."""
    messages = [bytes([i % 251]) * (8000 - i) for i in range(900)]

    together = _all(bytes(range(16)), Usage.MAC_CMAC, messages, kind="A")

    assert together[::97] == [
        _all(bytes(range(16)), Usage.MAC_CMAC, [m], kind="A")[0] for m in messages[::97]
    ]


def test_rows_that_differ_in_any_byte_are_told() -> None:
    """A difference in the first and in the last byte counts the same."""
    ours = np.arange(24, dtype=np.uint8).reshape(3, 8)
    theirs = ours.copy()
    theirs[0, 0] ^= 1
    theirs[2, 7] ^= 128

    assert differ(ours, theirs).tolist() == [True, False, True]
