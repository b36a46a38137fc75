"""Message authentication codes of many messages under one key.

A CBC chain cannot be computed side by side within a message, but it can across messages. TDES keys
whose round keys are at hand have kernels that walk the messages where they lie: tables for a few
(``engine.security.des_kernels``), bit by bit for many (``engine.security.des_slices``). All other
keys go in lockstep: step k takes block k of every message that has one, in one call of the cipher,
so that a batch costs as many calls as its longest message has blocks, whoever keeps the key.

ISO 9797-1: algorithm 1 (CBC-MAC), algorithm 3 (retail MAC, ANSI X9.19), algorithm 5 (CMAC, also
SP 800-38B). The result is the leftmost bytes of the last block.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.security.ciphers import Cipher, cmac_subkeys
from engine.security.des_kernels import SP, table_macs
from engine.security.des_slices import LANES, SCRATCH_WORDS, sliced_macs
from engine.security.keys import Usage
from engine.security.lay_kernels import lay_blocks

MAC_BYTES = 8
_PIECE_BYTES = 4 << 20  # blocks laid out at once
_SLICED_FROM = 40  # messages: fewer take less time by tables


class Padding(IntEnum):
    """How the last block is filled, ISO 9797-1 methods 1 and 2; CMAC has a way of its own."""

    ZEROS = 0
    MARK = 1
    CMAC = 2


class _Messages(NamedTuple):
    """Where messages lie, and their rows by falling size."""

    data: NDArray[np.uint8]
    starts: NDArray[np.int64]
    sizes: NDArray[np.int64]
    order: NDArray[np.int64]


def macs(
    cipher: Cipher,
    usage: Usage,
    padding: Padding,
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    sizes: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Return u8 (n, 8): the MACs of the messages ``data[starts[i] : starts[i] + sizes[i]]``.

    Parameters
    ----------
    usage : MAC_1, MAC_3 or MAC_CMAC: the algorithm. ``padding`` counts for the first two only.
    starts, sizes : i64 (n,).
    """
    block = cipher.block_bytes
    tails = np.zeros((2, block // 8), np.uint64)
    if usage is Usage.MAC_CMAC:
        padding = Padding.CMAC
        k1, k2 = cmac_subkeys(cipher.encrypt(bytes(block)))
        tails[:] = np.frombuffer(k2 + k1, np.uint64).reshape(tails.shape)
    messages = _Messages(data, starts, sizes, np.argsort(-sizes))
    out = np.empty((len(starts), MAC_BYTES), np.uint8)
    rounds = cipher.round_keys()
    if rounds is None:
        _in_lockstep(cipher, usage, padding, messages, tails, out)
    else:
        _by_kernels(usage, padding, messages, rounds, tails[:, 0].byteswap(), out)
    return out


def _by_kernels(
    usage: Usage,
    padding: Padding,
    messages: _Messages,
    rounds: NDArray[np.uint32],
    tails: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> None:
    """Let the kernel that takes less time for so many messages make them, under TDES."""
    data, starts, sizes, order = messages
    inner = 1 if usage is Usage.MAC_3 else 3
    if len(order) < _SLICED_FROM:
        table_macs(*messages, int(padding), inner, rounds, tails, SP, out)
        return
    scratch = np.empty(SCRATCH_WORDS, np.uint64)
    for first in range(0, len(order), LANES):
        rows = order[first : first + LANES]
        sliced_macs(data, starts, sizes, rows, int(padding), inner, rounds, tails, scratch, out)


def _in_lockstep(
    cipher: Cipher,
    usage: Usage,
    padding: Padding,
    messages: _Messages,
    tails: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> None:
    """Lay the messages out as blocks, a piece at a time, and run their chains."""
    data, starts, sizes, order = messages
    block = cipher.block_bytes
    first = 0
    while first < len(order):
        steps = int(sizes[order[first]]) // block + 1
        piece = order[first : first + max(1, _PIECE_BYTES // (steps * block))]
        words = np.empty((steps, len(piece), block // 8), np.uint64)
        running = np.empty(steps + 1, np.int64)
        lay_blocks(data, starts, sizes, piece, int(padding), tails, words, running)
        chains = _chains(cipher, usage, words, running.tolist())
        out[piece] = chains[:, :1].copy().view(np.uint8)
        first += len(piece)


def _chains(
    cipher: Cipher, usage: Usage, words: NDArray[np.uint64], running: list[int]
) -> NDArray[np.uint64]:
    """Take one block of every chain that has one in each call of the cipher.

    ``running[k]``: how many of the first rows have a block k, and 0 behind the last.
    """
    chain = np.zeros(words.shape[1:], np.uint64)
    inner = cipher.encrypt_left if usage is Usage.MAC_3 else cipher.encrypt
    for k in range(running.index(0)):
        rows, going_on = running[k], running[k + 1]
        mixed = words[k, :rows]
        np.bitwise_xor(mixed, chain[:rows], out=mixed)
        if usage is Usage.MAC_3 and going_on < rows:
            # The last block of algorithm 3 goes through the whole key: E(K1), D(K2), E(K1).
            chain[going_on:rows] = _words(cipher.encrypt(mixed[going_on:].data.cast("B")), chain)
            rows = going_on
        if rows:
            chain[:rows] = _words(inner(mixed[:rows].data.cast("B")), chain)
    return chain


def _words(data: bytes, like: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return np.frombuffer(data, np.uint64).reshape(-1, like.shape[1])


def differ(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which rows differ; every byte is looked at whatever the ones before it were."""
    wrong: NDArray[np.bool_] = np.bitwise_or.reduce(ours ^ theirs, axis=1) != 0
    return wrong
