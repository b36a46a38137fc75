"""Why a score is high, and a check of what it was made from.

Path attribution (Saabas 2014): on the way down a tree, the change of the expected margin at each
split goes to the feature that split. Quick, and exact in sum; which feature comes first can differ
from TreeSHAP, so it is a hint for triage and never a credit notice.
"""

import numpy as np
from numpy.typing import NDArray

from scoring.forest_kernels import COLUMN_BITS, row_keys
from scoring.jit import Int, Row, allocating_kernel, kernel

REASONS_MAX = 4
REASON_SCORE_BP = 500  # payments from this score on get reasons
_MASK = (1 << COLUMN_BITS) - 1
_FNV_START = 0x811C9DC5
_FNV_PRIME = 0x01000193
_WORD = 0xFFFFFFFF


@allocating_kernel
def feature_checks(
    features: NDArray[np.float32], idx: NDArray[np.int32], checks: NDArray[np.uint32]
) -> None:
    """Write a 32-bit hash (FNV-1a over float32 words) of the feature rows of ``idx``.

    Parameters: features f32[n, k]; idx i32[m]; checks u32[n], rows of idx written. Never 0.
    """
    words = features.view(np.uint32)
    count = len(idx)
    for first in range(0, count, 4):
        # Four rows side by side: each step of a hash waits for the one before it. The last rows
        # are taken again where there are no four.
        a, b = idx[first], idx[min(first + 1, count - 1)]
        c, d = idx[min(first + 2, count - 1)], idx[min(first + 3, count - 1)]
        hash_a: Int = np.int64(_FNV_START)
        hash_b: Int = np.int64(_FNV_START)
        hash_c: Int = np.int64(_FNV_START)
        hash_d: Int = np.int64(_FNV_START)
        for column in range(features.shape[1]):
            hash_a = ((hash_a ^ np.int64(words[a, column])) * _FNV_PRIME) & _WORD
            hash_b = ((hash_b ^ np.int64(words[b, column])) * _FNV_PRIME) & _WORD
            hash_c = ((hash_c ^ np.int64(words[c, column])) * _FNV_PRIME) & _WORD
            hash_d = ((hash_d ^ np.int64(words[d, column])) * _FNV_PRIME) & _WORD
        checks[a] = np.uint32(max(hash_a, 1))
        checks[b] = np.uint32(max(hash_b, 1))
        checks[c] = np.uint32(max(hash_c, 1))
        checks[d] = np.uint32(max(hash_d, 1))


@allocating_kernel
def contributions(
    features: NDArray[np.float32],
    idx: NDArray[np.int32],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    means: NDArray[np.float32],
    depth: int,
    out: NDArray[np.float64],
) -> None:
    """Write what each feature adds to the margin of the rows of ``idx``, f64[m, k].

    Parameters: features f32[n, k] without NaN; forest as in ``score_margins``; means f32, the
    expected margin of each node by heap index.
    """
    keys = np.empty((1, features.shape[1]), np.int64)
    size = 1 << depth
    for at in range(len(idx)):
        row = idx[at]
        row_keys(features[row : row + 1], keys)
        out[at] = 0.0
        for a in range(0, len(nodes), size):
            place: Int = 1
            value = np.float64(means[a + 1])
            for _ in range(depth):
                node = nodes[a + place]
                column = node & _MASK
                place = 2 * place + np.int64(keys[0, column] >= node)
                after = leaves[a + place - size] if place >= size else means[a + place]
                out[at, column] += np.float64(after) - value
                value = np.float64(after)


@allocating_kernel
def explain_rows(
    features: NDArray[np.float32],
    idx: NDArray[np.int32],
    scores: NDArray[np.uint16],
    verdicts: NDArray[np.void],
    nodes: NDArray[np.int64],
    leaves: NDArray[np.float32],
    means: NDArray[np.float32],
    depth: int,
    reasons: NDArray[np.uint32],
) -> None:
    """Write up to four reasons of the rows that score REASON_SCORE_BP or that a rule acts on.

    Parameters: as in ``contributions``; scores u16[n]; verdicts with ``action`` and ``review``;
    reasons u32[n], rows of idx written: feature number + 1 in each byte, the strongest lowest.
    """
    one, parts = np.empty(1, np.int32), np.empty((1, features.shape[1]), np.float64)
    for at in range(len(idx)):
        row = idx[at]
        reasons[row] = np.uint32(0)
        if scores[row] < REASON_SCORE_BP and not _is_acted_on(verdicts[row]):
            continue
        one[0] = row
        contributions(features, one, nodes, leaves, means, depth, parts)
        reasons[row] = _strongest(parts[0])


@kernel
def _is_acted_on(verdict: Row) -> bool:
    return verdict["action"] != 0 or verdict["review"] != 0


@kernel
def _strongest(parts: NDArray[np.float64]) -> Int:
    """Return the numbers + 1 of the largest parts over 0, one a byte; parts are used up."""
    packed = np.int64(0)
    for place in range(REASONS_MAX):
        best = 0
        for column in range(1, len(parts)):
            if parts[column] > parts[best]:
                best = column
        if parts[best] <= 0.0:
            break
        packed |= np.int64(best + 1) << (8 * place)
        parts[best] = 0.0
    return np.uint32(packed)
