"""Writing elements in every code: digits, characters, bitmaps, lengths, whole fields."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.wire.elements import Code, Prefix, Unit
from engine.wire.scan_kernels import Int
from ledger.jit import hot_kernel, kernel, move_sixteen

Bytes = NDArray[np.uint8]

_BYTE_MASK, _NIBBLE = np.uint64(255), np.uint64(15)
_EBCDIC, _EBCDIC_HEX = int(Code.EBCDIC), int(Code.EBCDIC_HEX)
_ASCII_HEX, _BCD, _BCD_LEFT = int(Code.ASCII_HEX), int(Code.BCD), int(Code.BCD_LEFT)
_PREFIX_EBCDIC, _PREFIX_BCD = int(Prefix.EBCDIC), int(Prefix.BCD)
_PREFIX_BINARY = int(Prefix.BINARY)
_DIGITS, _HEX_BYTES = int(Unit.DIGITS), int(Unit.HEX_BYTES)
_BINARY_LENGTH, _ASCII_LENGTH = 0, 1
_EBCDIC_ZERO = 0xF0


@hot_kernel
def copy(data: Bytes, source: Int, out: Bytes, at: Int, length: Int) -> Int:
    """Copy ``length`` bytes, sixteen at a time where ``data`` goes on far enough; return the end.

    ``out`` has room for fifteen bytes that are not meant.
    """
    if source + length + 16 <= data.shape[0]:
        for k in range(0, length, 16):
            move_sixteen(data, source + k, out, at + k)
    else:
        for k in range(length):
            out[np.uint64(at + k)] = data[np.uint64(source + k)]
    return at + length


@kernel
def _write_digits(out: Bytes, at: Int, value: Int, digits: Int, zero: Int) -> Int:
    for k in range(digits):
        out[np.uint64(at + digits - 1 - k)] = zero + value % 10
        value //= 10
    return at + digits


@kernel
def _write_packed(out: Bytes, at: Int, value: Int, size: Int) -> Int:
    for k in range(size):
        out[np.uint64(at + size - 1 - k)] = value // 10 % 10 << 4 | value % 10
        value //= 100
    return at + size


@kernel
def _write_binary(out: Bytes, at: Int, value: Int, size: Int) -> Int:
    for k in range(size):
        out[np.uint64(at + size - 1 - k)] = value & 255
        value >>= 8
    return at + size


@kernel
def write_mti(out: Bytes, at: Int, mti: Int, version: Int, code: Int) -> Int:
    """Write an MTI that is relative to its dialect's version; return the end.

    ``code``: 0 ASCII, 1 EBCDIC, 2 BCD.
    """
    if version != 0:
        mti = (mti // 1000 + np.int64(version)) % 10 * 1000 + mti % 1000
    if code == 2:
        return _write_packed(out, at, mti, 2)
    return _write_digits(out, at, mti, 4, _EBCDIC_ZERO if code == 1 else 48)


@kernel
def write_bitmap(
    out: Bytes,
    at: Int,
    word: np.uint64,
    code: Int,
    from_ascii: NDArray[np.uint8],
    dialect: np.uint64,
) -> Int:
    """Write a bitmap: 0 eight bytes, 1 hex characters, 2 the same in EBCDIC; return the end."""
    if code == 0:
        for k in range(8):
            out[np.uint64(at + k)] = (word >> np.uint64(56 - 8 * k)) & _BYTE_MASK
        return at + 8
    for k in range(16):
        nibble = np.int64((word >> np.uint64(60 - 4 * k)) & _NIBBLE)
        character = _hex_character(nibble)
        out[np.uint64(at + k)] = from_ascii[dialect, character] if code == 2 else character
    return at + 16


@kernel
def _hex_character(nibble: Int) -> Int:
    return 48 + nibble if nibble < 10 else 55 + nibble


@kernel
def write_length(out: Bytes, at: Int, size: Int, rule: Any) -> None:
    """Write the length of a frame whose rest has ``size`` bytes, and the zeros after it."""
    header = np.int64(rule.header_bytes)
    if (rule.length_code == _BINARY_LENGTH) & (header == 2) & (rule.counts_all == 0):
        out[np.uint64(at)] = size >> 8
        out[np.uint64(at + 1)] = size & 255
        for k in range(np.int64(rule.reserved_bytes)):
            out[np.uint64(at + 2 + k)] = 0
        return
    if rule.counts_all:
        size += header
    if rule.length_code == _BINARY_LENGTH:
        end = _write_binary(out, at, size, header)
    elif rule.length_code == _ASCII_LENGTH:
        end = _write_digits(out, at, size, header, 48)
    else:
        end = _write_packed(out, at, size, header)
    for k in range(np.int64(rule.reserved_bytes)):
        out[np.uint64(end + k)] = 0


@kernel
def _write_prefix(out: Bytes, at: Int, units: Int, field: Any) -> Int:
    size, code = np.int64(field.prefix_bytes), field.prefix_code
    if code == _PREFIX_BINARY:
        return _write_binary(out, at, units, size)
    if code == _PREFIX_BCD:
        return _write_packed(out, at, units, size)
    return _write_digits(out, at, units, size, _EBCDIC_ZERO if code == _PREFIX_EBCDIC else 48)


@kernel
def _wire_bytes(field: Any, size: Int) -> Int:
    """Return the bytes on the wire of ``size`` characters, digits or bytes."""
    code = field.data_code
    if (code == _BCD) | (code == _BCD_LEFT):
        return (size + 1) >> 1
    return 2 * size if (code == _ASCII_HEX) | (code == _EBCDIC_HEX) else size


@kernel
def fits(field: Any, size: Int) -> bool:
    """Return whether ``size`` characters, digits or bytes can stand in a field."""
    if field.size == 0:
        return False
    is_packed = (field.data_code == _BCD) | (field.data_code == _BCD_LEFT)
    if is_packed and field.signed:
        return False
    units = size if field.unit != 0 else _wire_bytes(field, size)
    return units == field.limit if field.prefix_bytes == 0 else units <= field.limit


@kernel
def write_field(
    data: Bytes,
    source: Int,
    size: Int,
    field: Any,
    from_ascii: NDArray[np.uint8],
    dialect: np.uint64,
    out: Bytes,
    at: Int,
) -> Int:
    """Write a field, prefix and all, from ASCII or bytes; return the end. It is known to fit."""
    wire = _wire_bytes(field, size)
    if field.prefix_bytes != 0:
        at = _write_prefix(out, at, size if field.unit != 0 else wire, field)
    code = field.data_code
    if (code == _BCD) | (code == _BCD_LEFT):
        _pack(data, source, size, field, out, at)
    elif (code == _ASCII_HEX) | (code == _EBCDIC_HEX):
        for k in range(size):
            byte = np.int64(data[np.uint64(source + k)])
            high, low = _hex_character(byte >> 4), _hex_character(byte & 15)
            is_ebcdic = code == _EBCDIC_HEX
            out[np.uint64(at + 2 * k)] = from_ascii[dialect, high] if is_ebcdic else high
            out[np.uint64(at + 2 * k + 1)] = from_ascii[dialect, low] if is_ebcdic else low
    elif code == _EBCDIC:
        for k in range(size):
            out[np.uint64(at + k)] = from_ascii[dialect, data[np.uint64(source + k)]]
    else:
        copy(data, source, out, at, size)
    return at + wire


@kernel
def _pack(data: Bytes, source: Int, size: Int, field: Any, out: Bytes, at: Int) -> None:
    """Write digits (and the D or = of a track) two a byte."""
    begin = 1 if (size & 1) and field.data_code == _BCD else 0
    pad = np.int64(field.pad)
    for k in range((size + 1) >> 1):
        byte: Int = 0
        for half in range(2):
            place = 2 * k + half - begin
            nibble: Int = pad
            if 0 <= place < size:
                character = np.int64(data[np.uint64(source + place)])
                nibble = character & 15 if 48 <= character <= 57 else 13
            byte = byte << 4 | nibble
        out[np.uint64(at + k)] = byte
