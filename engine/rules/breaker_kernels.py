"""Counts of what each rule refused, and when that is too much.

A breaker looks at stated record numbers: after each record whose number is a multiple of
``CHECK_RECORDS``. It compares what the rule refused of the last payments with the rule's limit. The
last payments are the current half window and the one before it, so between a half and a whole
window; a half begins anew at a look that finds it full. Everything is a fold of the records, so it
is the same however the stream is cut and after a replay.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, kernel

CHECK_RECORDS = 256  # a power of two
BREAKER = np.dtype(
    [
        ("window", "<i8"),  # payments; 0 = no breaker
        ("limit", "<i8"),  # refused payments of a window; one more trips it
        ("began", "<i8"),  # payments counted when the current half began
        ("current", "<i8"),  # refused in it
        ("previous", "<i8"),  # refused in the half before
        ("is_due", "<i8"),  # 1 = tripped, and not recorded yet
    ]
)
assert CHECK_RECORDS & (CHECK_RECORDS - 1) == 0


@kernel
def count_payment(
    rule: Int,
    reads_score: Any,
    ts_ns: Int,
    breakers: NDArray[np.void],
    totals: NDArray[np.int64],
) -> None:
    """Count one payment that the rules saw; ``rule`` refused it, -1 = none did.

    ``breakers`` is BREAKER[r + 1], one a rule and the model's; ``totals`` i64[3]: payments
    counted, the record up to which the breakers have looked, and the last payment's time, ns.
    """
    totals[0] += 1
    totals[2] = ts_ns
    if rule >= 0:
        breakers[rule]["current"] += 1
        if reads_score:
            breakers[breakers.shape[0] - 1]["current"] += 1


@kernel
def look(breakers: NDArray[np.void], watched: NDArray[np.uint8], totals: NDArray[np.int64]) -> None:
    """Mark the ``watched`` rules (u8[r + 1]) that are past their limit; begin full halves anew."""
    for r in range(breakers.shape[0]):
        row = breakers[r]
        if row["window"] == 0:
            continue
        if watched[r] != 0 and row["current"] + row["previous"] > row["limit"]:
            row["is_due"] = 1
        if totals[0] - row["began"] >= row["window"] // 2:
            row["began"] = totals[0]
            row["previous"] = row["current"]
            row["current"] = 0


@kernel
def pass_records(
    last_seq: Int,
    breakers: NDArray[np.void],
    watched: NDArray[np.uint8],
    totals: NDArray[np.int64],
) -> None:
    """Look once if a multiple of CHECK_RECORDS lies in the records up to ``last_seq``."""
    multiple = last_seq - last_seq % CHECK_RECORDS
    if multiple > totals[1]:
        look(breakers, watched, totals)
        totals[1] = multiple


@kernel
def records_until_trip(
    next_seq: Int, most: Int, breakers: NDArray[np.void], watched: NDArray[np.uint8]
) -> int:
    """Return how many records from ``next_seq`` on, up to ``most``, come before any can trip.

    Those until the next look, or as many as the ``watched`` breakers have left before one is past
    its limit: a record is one refused payment at most.
    """
    left = np.int64(most)
    for r in range(breakers.shape[0]):
        row = breakers[r]
        if row["window"] != 0 and watched[r] != 0:
            left = min(left, row["limit"] - row["current"] - row["previous"])
    until_look = CHECK_RECORDS - (next_seq - 1) % CHECK_RECORDS
    return min(np.int64(most), max(left, until_look))


@kernel
def count_records(
    records: NDArray[np.void],
    refusing: NDArray[np.int16],
    reads_score: NDArray[np.uint8],
    breakers: NDArray[np.void],
    watched: NDArray[np.uint8],
    totals: NDArray[np.int64],
) -> None:
    """Count ``records`` RECORD[k] in order, ``refusing`` i16[k] the rule or -1: a replay."""
    for i in range(records.shape[0]):
        record = records[i]
        if record["rules_version"] != 0 and record["kind"] < 100:
            rule = np.int64(refusing[i])
            is_scored = rule >= 0 and reads_score[rule] != 0
            count_payment(rule, is_scored, np.int64(record["ts_ns"]), breakers, totals)
        pass_records(np.int64(record["seq"]), breakers, watched, totals)


@kernel
def count_items(
    item_count: Int,
    first_record: Int,
    first_seq: Int,
    record_count: Int,
    items: NDArray[np.void],
    deciding: NDArray[np.int16],
    reads_score: NDArray[np.uint8],
    breakers: NDArray[np.void],
    watched: NDArray[np.uint8],
    totals: NDArray[np.int64],
) -> None:
    """Count the payments among the records [first_record, record_count) of a batch.

    ``items`` ITEM, in any order; ``deciding`` i16 by item: the rule that refused, -1 = none, -2 =
    the rules did not see it. The breakers look after each multiple of CHECK_RECORDS among these
    records; the caller knows that none trips but at the last.
    """
    last_seq = first_seq + record_count - 1
    low = np.int64(first_seq) + first_record
    while low <= last_seq:
        high = min(last_seq, low + CHECK_RECORDS - 1 - (low - 1) % CHECK_RECORDS)
        for i in range(item_count):
            record = np.int64(items[i]["record"])
            if record < first_record or deciding[i] == -2:
                continue
            if low <= first_seq + record <= high:
                rule = np.int64(deciding[i])
                is_scored = rule >= 0 and reads_score[rule] != 0
                count_payment(rule, is_scored, np.int64(items[i]["ts_ns"]), breakers, totals)
        pass_records(high, breakers, watched, totals)
        low = high + 1
