"""PIN blocks of ISO 9564-1, formats 0, 1, 3 and 4: made, read, and moved to other keys and formats.

A clear PIN exists only inside these functions, as rows of digits that the caller overwrites
(``Pins.wipe``); nothing here prints or keeps one. Many blocks under one key cost one or two calls
of the cipher.
"""

import secrets
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.security.ciphers import AES_BLOCK, DES_BLOCK, Cipher
from engine.security.digits import Bytes, as_rows, nibbles, packed, pan_digits, rightmost
from engine.security.errors import KeyUsageError

FORMATS = (0, 1, 3, 4)
PIN_DIGITS_MIN, PIN_DIGITS_MAX = 4, 12
_WIDTH = 16  # half bytes of a PIN field
_FILL = {0: 15, 4: 10}
_PAN_FIELD_DIGITS = 12
_FORMAT_4_PAN_MIN = 12


@dataclass(slots=True)
class Pins:
    """Clear PINs: digits u8 (n, 12), how many of them count i64 (n,), whether the block was right.

    A block that is not right has no digits.
    """

    digits: Bytes
    sizes: NDArray[np.int64]
    is_right: NDArray[np.bool_]

    def __repr__(self) -> str:
        return "Pins([hidden])"

    def wipe(self) -> None:
        """Overwrite the digits."""
        self.digits[:] = 0


def block_bytes(block_format: int) -> int:
    """Return the bytes of a PIN block of this format."""
    return AES_BLOCK if block_format == 4 else DES_BLOCK


def read_pins(cipher: Cipher, block_format: int, blocks: Bytes, pan_blocks: Bytes) -> Pins:
    """Decrypt and read PIN blocks u8 (n, 8), format 4 u8 (n, 16), of the cards ``pan_blocks``."""
    _check(cipher, block_format)
    if block_format == 4:
        middle = as_rows(cipher.decrypt(blocks.tobytes()), AES_BLOCK)
        middle ^= _pan_field_4(pan_blocks)
        clear = as_rows(cipher.decrypt(middle.tobytes()), AES_BLOCK)[:, :DES_BLOCK]
    else:
        clear = as_rows(cipher.decrypt(blocks.tobytes()), DES_BLOCK)
        if block_format != 1:
            clear ^= _pan_field(pan_blocks)
    pins = _parsed(block_format, nibbles(clear))
    clear[:] = 0
    return pins


def make_blocks(
    cipher: Cipher, block_format: int, pins: Pins, pan_blocks: Bytes, random: Bytes | None = None
) -> Bytes:
    """Write and encrypt PIN blocks; ``random`` u8 (n, 16) is drawn when it is not given."""
    _check(cipher, block_format)
    count = len(pins.sizes)
    noise = as_rows(secrets.token_bytes(count * _WIDTH), _WIDTH) if random is None else random
    field = _field(block_format, pins, noise)
    if block_format == 4:
        clear = np.concatenate([packed(field), noise[:, :DES_BLOCK]], axis=1)
        middle = as_rows(cipher.encrypt(clear.tobytes()), AES_BLOCK)
        middle ^= _pan_field_4(pan_blocks)
        sealed = as_rows(cipher.encrypt(middle.tobytes()), AES_BLOCK)
    else:
        clear = packed(field)
        if block_format != 1:
            clear ^= _pan_field(pan_blocks)
        sealed = as_rows(cipher.encrypt(clear.tobytes()), DES_BLOCK)
    clear[:] = 0
    field[:] = 0
    return sealed


def translate(
    source: Cipher,
    source_format: int,
    target: Cipher,
    target_format: int,
    blocks: Bytes,
    pan_blocks: Bytes,
) -> tuple[Bytes, NDArray[np.bool_]]:
    """Return (PIN blocks under ``target``, which were right); rows that were not are zeros.

    ISO 9564-1 does not let a block without a card number (format 1) come from one that is bound
    to it (0, 3, 4): ``KeyUsageError``.
    """
    if target_format == 1 and source_format != 1:
        raise KeyUsageError("a PIN block bound to its card is not turned into format 1")
    pins = read_pins(source, source_format, blocks, pan_blocks)
    pins.sizes[~pins.is_right] = PIN_DIGITS_MIN
    made = make_blocks(target, target_format, pins, pan_blocks)
    pins.wipe()
    made[~pins.is_right] = 0
    return made, pins.is_right


def _check(cipher: Cipher, block_format: int) -> None:
    if block_format not in FORMATS:
        raise KeyUsageError(f"PIN block format {block_format} is not served: 0, 1, 3 and 4 are")
    if cipher.block_bytes != block_bytes(block_format):
        needed = "an AES" if block_format == 4 else "a TDES"
        raise KeyUsageError(f"PIN block format {block_format} needs {needed} key")


def _pan_field(pan_blocks: Bytes) -> Bytes:
    digits, counts = pan_digits(pan_blocks)
    field = np.zeros((len(pan_blocks), _WIDTH), np.uint8)
    field[:, 4:] = rightmost(digits, counts, _PAN_FIELD_DIGITS)
    return packed(field)


def _pan_field_4(pan_blocks: Bytes) -> Bytes:
    """The count of digits beyond 12, the digits, zeros; shorter numbers have zeros before them."""
    digits, counts = pan_digits(pan_blocks)
    field = np.zeros((len(pan_blocks), 2 * AES_BLOCK), np.uint8)
    shift = np.maximum(_FORMAT_4_PAN_MIN - counts, 0)
    field[:, 0] = np.maximum(counts - _FORMAT_4_PAN_MIN, 0)
    places = np.arange(digits.shape[1]) - shift[:, None]
    taken = np.take_along_axis(digits, np.clip(places, 0, None), axis=1)
    is_digit = (places >= 0) & (places < counts[:, None])
    field[:, 1 : 1 + digits.shape[1]] = np.where(is_digit, taken, 0)
    return packed(field)


def _field(block_format: int, pins: Pins, noise: Bytes) -> Bytes:
    field = np.empty((len(pins.sizes), _WIDTH), np.uint8)
    field[:, 0] = block_format
    field[:, 1] = pins.sizes
    fill = noise & np.uint8(15)
    if block_format == 3:
        fill = np.uint8(10) + noise % np.uint8(6)
    elif block_format != 1:
        fill = np.full_like(noise, _FILL[block_format])
    field[:, 2:] = fill[:, 2:]
    used = np.arange(PIN_DIGITS_MAX) < pins.sizes[:, None]
    np.copyto(field[:, 2 : 2 + PIN_DIGITS_MAX], pins.digits, where=used)
    return field


def _parsed(block_format: int, field: Bytes) -> Pins:
    """Check control digit, length, digits and filler; a wrong key shows here nearly always."""
    sizes = field[:, 1].astype(np.int64)
    body = field[:, 2:]
    is_right = (field[:, 0] == block_format) & (sizes >= PIN_DIGITS_MIN) & (sizes <= PIN_DIGITS_MAX)
    is_pin = np.arange(body.shape[1]) < sizes[:, None]
    is_right &= np.all((body <= 9) | ~is_pin, axis=1)
    if block_format in _FILL:
        is_right &= np.all((body == _FILL[block_format]) | is_pin, axis=1)
    elif block_format == 3:
        is_right &= np.all((body >= 10) | is_pin, axis=1)
    digits = np.where(is_pin & is_right[:, None], body, 0)[:, :PIN_DIGITS_MAX].astype(np.uint8)
    field[:] = 0
    return Pins(digits, np.where(is_right, sizes, 0), is_right)
