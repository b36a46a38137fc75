"""Message authentication codes of many messages under one key, in lockstep.

A CBC chain cannot be computed side by side within a message, but it can across messages: step k
takes block k of every message that has one, in one call of the cipher. So a batch costs as many
calls as its longest message has blocks, whoever keeps the key.

ISO 9797-1: algorithm 1 (CBC-MAC), algorithm 3 (retail MAC, ANSI X9.19), algorithm 5 (CMAC, also
SP 800-38B). The result is the leftmost bytes of the last block.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from engine.security.ciphers import DES_BLOCK, Cipher, cmac_subkeys
from engine.security.des_kernels import SP, des_chains
from engine.security.keys import Usage
from engine.security.lay_kernels import lay_blocks

MAC_BYTES = 8
_PIECE_BYTES = 4 << 20  # blocks laid out at once


class Padding(IntEnum):
    """How the last block is filled, ISO 9797-1 methods 1 and 2; CMAC has a way of its own."""

    ZEROS = 0
    MARK = 1
    CMAC = 2


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
    if usage is Usage.MAC_CMAC:
        padding = Padding.CMAC
    block = cipher.block_bytes
    out = np.zeros((len(starts), MAC_BYTES), np.uint8)
    steps = np.maximum(-(-sizes // block), 1)
    if padding == Padding.MARK:
        steps = sizes // block + 1
    order = np.argsort(-steps, kind="stable")
    first = 0
    while first < len(order):
        rows = max(1, _PIECE_BYTES // (int(steps[order[first]]) * block))
        piece = order[first : first + rows]
        blocks = np.zeros((int(steps[piece[0]]), len(piece), block), np.uint8)
        lay_blocks(data, starts, sizes, piece, block, int(padding), blocks)
        whole = sizes[piece] % block == 0
        if padding == Padding.CMAC:
            _mix_subkeys(cipher, blocks, steps[piece], whole & (sizes[piece] > 0))
        out[piece] = _chains(cipher, usage, blocks, steps[piece])[:, :MAC_BYTES]
        first += rows
    return out


def _mix_subkeys(
    cipher: Cipher, blocks: NDArray[np.uint8], steps: NDArray[np.int64], whole: NDArray[np.bool_]
) -> None:
    """Exclusive-or K1 into last blocks that are whole, K2 into those that were filled."""
    block = cipher.block_bytes
    k1, k2 = cmac_subkeys(cipher.encrypt(bytes(block)))
    keys = np.frombuffer(k2 + k1, np.uint8).reshape(2, block)
    blocks[steps - 1, np.arange(len(steps))] ^= keys[whole.astype(np.intp)]


def _chains(
    cipher: Cipher, usage: Usage, blocks: NDArray[np.uint8], steps: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Run the chains; ``steps`` falls, so those that still run are always the first rows."""
    block = cipher.block_bytes
    words = blocks.view(np.uint64)
    chain = np.zeros((len(steps), block // 8), np.uint64)
    lasts = np.searchsorted(-steps, -np.arange(blocks.shape[0] + 1), side="left")
    rounds = cipher.left_schedule() if usage is Usage.MAC_3 else None
    if rounds is not None:
        return _retail_chains(cipher, rounds, blocks, steps, lasts[1:].astype(np.int64))
    return _lockstep(cipher, usage, words, chain, lasts.tolist()).view(np.uint8).reshape(-1, block)


def _retail_chains(
    cipher: Cipher,
    rounds: NDArray[np.uint32],
    blocks: NDArray[np.uint8],
    steps: NDArray[np.int64],
    inner: NDArray[np.int64],
) -> NDArray[np.uint8]:
    """Run the chains of algorithm 3 by the kernel; the last blocks go through the whole key."""
    chain = np.zeros((len(steps), DES_BLOCK), np.uint8)
    des_chains(blocks, inner, rounds, SP, chain)
    chain ^= blocks[steps - 1, np.arange(len(steps))]
    return np.frombuffer(cipher.encrypt(chain.tobytes()), np.uint8).reshape(-1, DES_BLOCK)


def _lockstep(
    cipher: Cipher,
    usage: Usage,
    words: NDArray[np.uint64],
    chain: NDArray[np.uint64],
    lasts: list[int],
) -> NDArray[np.uint64]:
    """Take one block of every chain that has one in each call of the cipher."""
    block = cipher.block_bytes
    inner = cipher.encrypt_left if usage is Usage.MAC_3 else cipher.encrypt
    for k in range(len(words)):
        running, going_on = lasts[k], lasts[k + 1]
        mixed = words[k, :running]
        np.bitwise_xor(mixed, chain[:running], out=mixed)
        if usage is Usage.MAC_3 and going_on < running:
            # The last block of algorithm 3 goes through the whole key: E(K1), D(K2), E(K1).
            ended = cipher.encrypt(mixed[going_on:].data.cast("B"))
            chain[going_on:running] = _words(ended, block)
            running = going_on
        if running:
            sealed = inner(mixed[:running].data.cast("B"))
            chain[:running] = _words(sealed, block)
    return chain


def _words(data: bytes, block: int) -> NDArray[np.uint64]:
    return np.frombuffer(data, np.uint64).reshape(-1, block // 8)


def differ(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return which rows differ; every byte is looked at whatever the ones before it were."""
    wrong: NDArray[np.bool_] = np.bitwise_or.reduce(ours ^ theirs, axis=1) != 0
    return wrong
