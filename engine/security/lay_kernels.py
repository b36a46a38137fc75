"""Lays messages out as blocks so that their chains can advance in lockstep; copies MACs about."""

import numpy as np
from numpy.typing import NDArray

from engine.security.blocks import block_count, is_whole, stored_word
from engine.wire.elements import Code
from ledger.jit import Int, hot_kernel, kernel

_ASCII_HEX, _EBCDIC_HEX, _EBCDIC = int(Code.ASCII_HEX), int(Code.EBCDIC_HEX), int(Code.EBCDIC)
_BCD, _BCD_LEFT = int(Code.BCD), int(Code.BCD_LEFT)


@kernel
def lay_blocks(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    order: NDArray[np.int64],
    marked: Int,
    tails: NDArray[np.uint64],
    blocks: NDArray[np.uint64],
    running: NDArray[np.int64],
) -> None:
    """Write block k of message ``order[i]`` to ``blocks[k, i]``, ready to be chained.

    Parameters
    ----------
    data : u8, where the messages lie; starts, sizes : i64 (n,), of each message.
    order : i64 (m,), messages to lay out, by falling size.
    marked : how the last block is filled, ``engine.security.blocks``.
    tails : u64 (2, width), what last blocks are mixed with: those that were filled, those that are
        whole.
    blocks : u64 (steps, m, width), out: the bytes of blocks, ``width`` words each; those after a
        message's last stay as they are.
    running : i64 (steps + 1,), out: how many of the first messages have block k.
    """
    width = blocks.shape[2]
    running[:] = 0
    for i in range(order.shape[0]):
        start, size = starts[order[i]], sizes[order[i]]
        count = block_count(size, 8 * width, marked)
        for k in range(count):
            running[k] += 1
            for w in range(width):
                blocks[k, i, w] = stored_word(data, start, size, k * width + w, marked)
        for w in range(width):
            blocks[count - 1, i, w] ^= tails[1 if is_whole(size, 8 * width) else 0, w]


@kernel
def take_bytes(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    codes: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Copy ``sizes[i]`` bytes from ``starts[i]`` to row i of ``out`` u8 (n, width or more).

    ``codes`` u8 (n,): how they are written; the two hex codes take two characters a byte.
    """
    for i in range(starts.shape[0]):
        for k in range(sizes[i]):
            out[i, k] = wire_byte(data, starts[i], k, codes[i])


@hot_kernel
def is_hex_code(code: Int) -> Int:
    """Return whether a code takes two characters a byte."""
    return code in (_ASCII_HEX, _EBCDIC_HEX)


@hot_kernel
def wire_byte(data: NDArray[np.uint8], start: Int, place: Int, code: Int) -> Int:
    """Return byte ``place`` of bytes that begin at ``start``, written in ``code``."""
    if is_hex_code(code):
        at = start + 2 * place
        return _half(data[at]) << 4 | _half(data[at + 1])
    return np.int64(data[start + place])


@kernel
def _half(character: Int) -> Int:
    """Return 0 to 15 of a hex character, ASCII or EBCDIC; decoding has checked that it is one."""
    value = np.int64(character)
    if value >= 0xF0:
        return value - 0xF0
    if value > 0x80:
        return (value & 15) + 9
    return value - 48 if value <= 57 else (value & 0xDF) - 55


@kernel
def put_macs(
    values: NDArray[np.uint8],
    places: NDArray[np.int64],
    sizes: NDArray[np.int64],
    codes: NDArray[np.uint8],
    out: NDArray[np.uint8],
) -> None:
    """Write ``sizes[i]`` bytes of row i of ``values`` u8 (n, 8) to ``out`` at ``places[i]``.

    ``codes`` u8 (n,): how the dialect writes them.
    """
    for i in range(places.shape[0]):
        at = places[i]
        is_hex = is_hex_code(codes[i])
        for k in range(sizes[i]):
            value = np.int64(values[i, k])
            if is_hex:
                out[at + 2 * k] = _hex_character(value >> 4, codes[i])
                out[at + 2 * k + 1] = _hex_character(value & 15, codes[i])
            else:
                out[at + k] = value


@kernel
def _hex_character(half: Int, code: Int) -> Int:
    """Return a half byte as a hex capital, in ASCII or in EBCDIC."""
    if code == _EBCDIC_HEX:
        return 0xF0 + half if half < 10 else 0xC1 + half - 10
    return 48 + half if half < 10 else 55 + half


@kernel
def read_track2(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    codes: NDArray[np.uint8],
    skip: Int,
    out: NDArray[np.int64],
) -> None:
    """Read expiry, service code and CVV of tracks: what stands behind their separator.

    Parameters
    ----------
    starts, sizes : i64 (n,), of the track's bytes; codes : u8 (n,), how they are written.
    skip : digits between service code and CVV.
    out : i64 (n, 3), out: YYMM, service code, CVV; -1 where the track is too short for it.
    """
    for i in range(starts.shape[0]):
        start, code = starts[i], np.int64(codes[i])
        count = sizes[i] * 2 if code in (_BCD, _BCD_LEFT) else sizes[i]
        at = np.int64(0)
        while at < count and _track_digit(data, start, at, code) <= 9:
            at += 1
        out[i, 0] = _number(data, start, at + 1, 4, count, code)
        out[i, 1] = _number(data, start, at + 5, 3, count, code)
        out[i, 2] = _number(data, start, at + 8 + skip, 3, count, code)


@kernel
def _track_digit(data: NDArray[np.uint8], start: Int, at: Int, code: Int) -> Int:
    """Return digit number ``at`` of a track; over 9 for a separator or a filler."""
    if code in (_BCD, _BCD_LEFT):
        byte = np.int64(data[start + (at >> 1)])
        return byte & 15 if at & 1 else byte >> 4
    value = np.int64(data[start + at]) - (0xF0 if code == _EBCDIC else 48)
    return value if 0 <= value <= 9 else 13


@kernel
def _number(data: NDArray[np.uint8], start: Int, at: Int, size: Int, count: Int, code: Int) -> Int:
    if at + size > count:
        return -1
    value = np.int64(0)
    for k in range(size):
        digit = _track_digit(data, start, at + k, code)
        if digit > 9:
            return -1
        value = value * 10 + digit
    return value
