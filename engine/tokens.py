"""From card numbers to tokens: AES-CMAC of one block, a whole batch in one AES call.

A PAN fits one 16-byte block, and CMAC of exactly one complete block is AES(K, block xor K1)
(NIST SP 800-38B, 6.2; RFC 4493, 2.4), so a batch of tokens is one ECB pass over the masked blocks.
The block is injective: digit count, digits, domain. The key never leaves the vault's process.

Block: byte 0 = number of digits; bytes 1-10 = the digits in BCD, first digit in the high nibble of
byte 1, filled up with 0xF; bytes 11-15 = DOMAIN. The decode kernel writes the same layout.
"""

from collections.abc import Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from ledger.pan import Pan

BLOCK_BYTES = 16
DOMAIN = b"de39\x01"
DIGITS_MIN = 12
DIGITS_MAX = 19
_NIBBLES = 20
_LSB_MASK = (1 << 128) - 1
_POLYNOMIAL = 0x87  # of the field with 2^128 elements, SP 800-38B, 5.3


class Tokenizer:
    """Makes tokens under one key (16, 24 or 32 bytes); not thread-safe, one for each thread."""

    def __init__(self, key: bytes) -> None:
        # ECB is right here: every block is a message of its own, and CMAC of it is one AES call.
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())  # noqa: S305
        self._encryptor = self._cipher.encryptor()
        zero = self._cipher.encryptor().update(bytes(BLOCK_BYTES))
        doubled = int.from_bytes(zero, "big") << 1
        if doubled > _LSB_MASK:
            doubled = (doubled & _LSB_MASK) ^ _POLYNOMIAL
        self._subkey = np.frombuffer(doubled.to_bytes(BLOCK_BYTES, "big"), np.uint64).copy()
        self._masked = np.zeros((0, 2), np.uint64)
        self._sealed = np.zeros(0, np.uint8)

    def tokens(self, blocks: NDArray[np.uint8], n: int, out: NDArray[np.uint64]) -> None:
        """Write the tokens of ``blocks`` u8[>= n, 16] to ``out`` u64[>= n, 2].

        ``out[i, 0]`` is bytes 0-7 of the token as a little-endian number, ``out[i, 1]`` the rest.
        """
        if n == 0:
            return
        if len(self._masked) < n:
            self._masked = np.zeros((n, 2), np.uint64)
            # The library asks for one block of room behind the last, though ECB writes none.
            self._sealed = np.zeros(n * BLOCK_BYTES + BLOCK_BYTES - 1, np.uint8)
        masked, size = self._masked[:n], n * BLOCK_BYTES
        np.bitwise_xor(blocks[:n].view(np.uint64), self._subkey, out=masked)
        clear = masked.reshape(-1).view(np.uint8)
        self._encryptor.update_into(clear.data, self._sealed[: size + BLOCK_BYTES - 1].data)
        out[:n] = self._sealed[:size].view(np.uint64).reshape(n, 2)

    def of_pans(self, pans: Sequence[Pan]) -> NDArray[np.uint64]:
        """Return the tokens u64[n, 2] of card numbers; ValueError unless 12 to 19 digits each."""
        blocks = pan_blocks([pan.digits() for pan in pans])
        out = np.empty((len(blocks), 2), np.uint64)
        self.tokens(blocks, len(blocks), out)
        return out


def pan_block(digits: str) -> bytes:
    """Return the 16-byte block of one card number of 12 to 19 digits."""
    if not (digits.isascii() and digits.isdigit() and DIGITS_MIN <= len(digits) <= DIGITS_MAX):
        raise ValueError("a card number has 12 to 19 digits")
    return bytes([len(digits)]) + bytes.fromhex(digits.ljust(_NIBBLES, "f")) + DOMAIN


def pan_blocks(numbers: Sequence[str] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the blocks u8[n, 16] of many card numbers.

    ``numbers`` is a list of digit strings, or a matrix u8[n, w] of ASCII digits, w <= 20, each row
    filled up with zero bytes. ValueError unless every number has 12 to 19 digits.
    """
    text = numbers if isinstance(numbers, np.ndarray) else _matrix(numbers)
    n, width = text.shape
    if width > _NIBBLES:
        raise ValueError("a card number has 12 to 19 digits")
    is_digit = (text - np.uint8(ord("0"))) < 10  # wraps for smaller bytes, so one comparison does
    counts = is_digit.sum(axis=1)
    is_leading = np.arange(width) < counts[:, None]
    is_good = (is_digit == is_leading) & ((text != 0) == is_leading)
    if not (np.all(is_good) and np.all((counts >= DIGITS_MIN) & (counts <= DIGITS_MAX))):
        raise ValueError("a card number has 12 to 19 digits")
    nibbles = np.full((n, _NIBBLES), 0xF, np.uint8)
    np.copyto(nibbles[:, :width], text & 0xF, where=is_digit)
    blocks = np.empty((n, BLOCK_BYTES), np.uint8)
    blocks[:, 0] = counts
    blocks[:, 1:11] = nibbles[:, 0::2] << 4 | nibbles[:, 1::2]
    blocks[:, 11:] = np.frombuffer(DOMAIN, np.uint8)
    return blocks


def _matrix(numbers: Sequence[str]) -> NDArray[np.uint8]:
    try:
        packed = np.array(numbers, dtype=f"S{_NIBBLES}")
    except UnicodeEncodeError:
        raise ValueError("a card number has 12 to 19 digits") from None
    return packed.view(np.uint8).reshape(len(numbers), _NIBBLES)
