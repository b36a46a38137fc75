"""DES bit by bit for many messages at once: what MACs of a large batch are made of.

Word w of bit j holds that bit of 64 messages, so one instruction works on as many of them as a
vector has bits: the boxes are gates (``engine.security.des_boxes``), permutations are only other
places. Nothing is looked up by data or key, so the time says nothing of either.

Source: FIPS 46-3. A chain stays between initial and final permutation until its end; turning
blocks into bits and back is a transposition of 64 words.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engine.security import des_boxes as boxes
from engine.security.blocks import block_count, block_word, is_whole
from ledger.jit import Int, hot_kernel, kernel

WORDS = 8  # of a bit: as many as the widest vectors hold
LANES = 64 * WORDS  # messages that run together
_W = WORDS
_HALF, _KEY_BITS = 32 * WORDS, 16 * 48
_MASKS = 3 * _KEY_BITS
_WORDS_AT = _MASKS + 2 * _HALF
SCRATCH_WORDS = _WORDS_AT + 2 * LANES
_U = np.uint64

Six: TypeAlias = tuple[Int, Int, Int, Int, Int, Int]


@kernel
def sliced_macs(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    rows: NDArray[np.int64],
    marked: Int,
    inner: Int,
    keys: NDArray[np.uint32],
    tails: NDArray[np.uint64],
    scratch: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> None:
    """Write the MACs of ``rows``; the same as ``des_kernels.table_macs``.

    Parameters
    ----------
    starts, sizes : i64 (n,); rows : i64 (m,), the messages by falling size, at most ``LANES``.
    marked : how the last block is filled, ``engine.security.blocks``.
    inner : passes of DES over each block but the last, of the three that ``keys`` has: 1 is
        algorithm 3 of ISO 9797-1, 3 are algorithms 1 and 5.
    keys : u4 (3, 16, 2), round keys of each pass.
    tails : u64 (2,), what last blocks are mixed with: those that were filled, those that are whole.
    scratch : u64 (SCRATCH_WORDS,), for this call alone; keys and messages in it are overwritten.
    out : u8 (n, 8), out.
    """
    masks, halves = scratch[:_MASKS], scratch[_MASKS : _MASKS + 2 * _HALF]
    words, lasts = scratch[_WORDS_AT : _WORDS_AT + LANES], scratch[_WORDS_AT + LANES :]
    _spread(keys, masks)
    halves[:] = _U(0)
    running, step, is_closing = len(rows), 0, False
    # Step by step, then the last blocks, which go through the whole key: in one loop, since the
    # rounds are most of what there is to compile and would be compiled for each place that calls.
    while not is_closing:
        _load(data, starts, sizes, rows[:running], step, marked, words)
        _transpose(words)
        _enter(words, halves)
        step += 1
        running = _ended(sizes, rows[:running], step, marked, tails, halves, words, lasts)
        passes = inner
        if running == 0:
            is_closing, passes = True, 3
            for i in range(LANES):
                words[i] = lasts[i] if i < len(rows) else _U(0)
            _transpose(words)
            halves[:] = _U(0)
            _enter(words, halves)
        for part in range(passes):
            _des(halves, masks, part * _KEY_BITS)
    _leave(halves, words)
    _transpose(words)
    for i in range(len(rows)):
        for b in range(8):
            out[rows[i], b] = (words[i] >> _U(56 - 8 * b)) & _U(255)
    scratch[:] = _U(0)


@kernel
def _ended(
    sizes: NDArray[np.int64],
    rows: NDArray[np.int64],
    step: Int,
    marked: Int,
    tails: NDArray[np.uint64],
    halves: NDArray[np.uint64],
    words: NDArray[np.uint64],
    lasts: NDArray[np.uint64],
) -> int:
    """Put the last blocks of messages with ``step`` blocks aside; return how many go on."""
    going_on = len(rows)
    while going_on and block_count(sizes[rows[going_on - 1]], 8, marked) <= step:
        going_on -= 1
    if going_on < len(rows):
        _leave(halves, words)
        _transpose(words)
        for i in range(going_on, len(rows)):
            lasts[i] = words[i] ^ tails[1 if is_whole(sizes[rows[i]], 8) else 0]
    return going_on


@kernel
def _load(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
    rows: NDArray[np.int64],
    step: Int,
    marked: Int,
    words: NDArray[np.uint64],
) -> None:
    """Read block ``step`` of each message; zeros stand for those that there are not."""
    for i in range(len(rows)):
        words[i] = block_word(data, starts[rows[i]], sizes[rows[i]], step, marked)
    words[len(rows) :] = _U(0)


@kernel
def _spread(keys: NDArray[np.uint32], masks: NDArray[np.uint64]) -> None:
    """Make a word of each key bit, all ones or all zeros: in order of passes, rounds and boxes."""
    at = 0
    for part in range(3):
        for number in range(16):
            for box in range(8):
                bits = np.uint64(keys[part, number, box & 1]) >> _U(26 - 8 * (box >> 1))
                for b in range(6):
                    masks[at] = _U(0) - ((bits >> _U(5 - b)) & _U(1))
                    at += 1


@kernel
def _transpose(words: NDArray[np.uint64]) -> None:
    """Exchange messages and bits: of each 64 words, _W apart, bit j of word i and i of j."""
    _exchange(words, 32, _U(0x00000000FFFFFFFF))
    _exchange(words, 16, _U(0x0000FFFF0000FFFF))
    _exchange(words, 8, _U(0x00FF00FF00FF00FF))
    _exchange(words, 4, _U(0x0F0F0F0F0F0F0F0F))
    _exchange(words, 2, _U(0x3333333333333333))
    _exchange(words, 1, _U(0x5555555555555555))


@hot_kernel
def _exchange(words: NDArray[np.uint64], width: Int, mask: Int) -> None:
    """Exchange the upper bits of words with the lower ones of those ``width`` behind them."""
    shift, ahead = _U(width), width * _W
    for first in range(0, LANES, 2 * ahead):
        for at in range(first, first + ahead):
            low, high = words[at], words[at + ahead]
            other = ((low >> shift) ^ high) & mask
            words[at + ahead] = high ^ other
            words[at] = low ^ (other << shift)


@kernel
def _enter(words: NDArray[np.uint64], halves: NDArray[np.uint64]) -> None:
    """Exclusive-or blocks into the chain, through the initial permutation."""
    for k in range(32):
        row = _row(k)
        for w in range(_W):
            halves[k * _W + w] ^= words[row * _W + w]
            halves[_HALF + k * _W + w] ^= words[(row + 1) * _W + w]


@kernel
def _leave(halves: NDArray[np.uint64], words: NDArray[np.uint64]) -> None:
    """Write the chain as blocks, through the final permutation."""
    for k in range(32):
        row = _row(k)
        for w in range(_W):
            words[row * _W + w] = halves[k * _W + w]
            words[(row + 1) * _W + w] = halves[_HALF + k * _W + w]


@hot_kernel
def _row(k: Int) -> Int:
    """Return the bit, 0 = the lowest of a block, that the initial permutation brings to place k.

    Place 0 is the highest of the left half: it gets bit 58 of the standard's, counted from the
    highest as 1; the next ones get the bit 8 lower, each eighth the one 2 higher. The right half
    gets the bits beside them.
    """
    return 6 + 8 * (k & 7) - 2 * (k >> 3)


@kernel
def _des(halves: NDArray[np.uint64], masks: NDArray[np.uint64], at: Int) -> None:
    """One pass: sixteen rounds, then the halves change places."""
    for number in range(0, 16, 2):
        _round(halves, 0, _HALF, masks, at + 48 * number)
        _round(halves, _HALF, 0, masks, at + 48 * number + 48)
    for i in range(_HALF):
        halves[i], halves[_HALF + i] = halves[_HALF + i], halves[i]


@hot_kernel
def _round(
    halves: NDArray[np.uint64], into: Int, source: Int, masks: NDArray[np.uint64], at: Int
) -> None:
    """One round: the half at ``into`` takes what the boxes make of the one at ``source``.

    Both halves are in one array, and keys are read before a loop begins: so the compiler sees that
    nothing in it overlaps, and works on whole vectors.
    """
    key = _six_keys(masks, at)
    for w in range(_W):
        _put(halves, into + w, boxes.box_1(*_six(halves, source + w, 0, key)), 8, 16, 22, 30)
    key = _six_keys(masks, at + 6)
    for w in range(_W):
        _put(halves, into + w, boxes.box_2(*_six(halves, source + w, 1, key)), 12, 27, 1, 17)
    key = _six_keys(masks, at + 12)
    for w in range(_W):
        _put(halves, into + w, boxes.box_3(*_six(halves, source + w, 2, key)), 23, 15, 29, 5)
    key = _six_keys(masks, at + 18)
    for w in range(_W):
        _put(halves, into + w, boxes.box_4(*_six(halves, source + w, 3, key)), 25, 19, 9, 0)
    key = _six_keys(masks, at + 24)
    for w in range(_W):
        _put(halves, into + w, boxes.box_5(*_six(halves, source + w, 4, key)), 7, 13, 24, 2)
    key = _six_keys(masks, at + 30)
    for w in range(_W):
        _put(halves, into + w, boxes.box_6(*_six(halves, source + w, 5, key)), 3, 28, 10, 18)
    key = _six_keys(masks, at + 36)
    for w in range(_W):
        _put(halves, into + w, boxes.box_7(*_six(halves, source + w, 6, key)), 31, 11, 21, 6)
    key = _six_keys(masks, at + 42)
    for w in range(_W):
        _put(halves, into + w, boxes.box_8(*_six(halves, source + w, 7, key)), 4, 26, 14, 20)


@hot_kernel
def _six_keys(masks: NDArray[np.uint64], at: Int) -> Six:
    """Return the words of the key bits of one box."""
    return masks[at], masks[at + 1], masks[at + 2], masks[at + 3], masks[at + 4], masks[at + 5]


@hot_kernel
def _six(halves: NDArray[np.uint64], at: Int, box: Int, key: Six) -> Six:
    """Return what goes into a box: four bits, one on either side, mixed with the key."""
    place = 4 * box
    return (
        halves[at + (place + 31) % 32 * _W] ^ key[0],
        halves[at + place * _W] ^ key[1],
        halves[at + (place + 1) * _W] ^ key[2],
        halves[at + (place + 2) * _W] ^ key[3],
        halves[at + (place + 3) * _W] ^ key[4],
        halves[at + (place + 4) % 32 * _W] ^ key[5],
    )


@hot_kernel
def _put(
    halves: NDArray[np.uint64],
    at: Int,
    bits: boxes.Four,
    first: Int,
    second: Int,
    third: Int,
    fourth: Int,
) -> None:
    """Mix what comes out of a box into the places that the permutation P says."""
    halves[at + first * _W] ^= bits[0]
    halves[at + second * _W] ^= bits[1]
    halves[at + third * _W] ^= bits[2]
    halves[at + fourth * _W] ^= bits[3]
