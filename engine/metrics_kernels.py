"""Kernels that add a whole batch to the counters of ``engine.metrics``, one call a batch.

Every number of a row that picks a counter is clamped to the array it picks from, so that no value
of a peer, however odd, reads or writes outside. Sums of nanoseconds start again at 2^62, which a
rate takes for a restart, instead of turning negative.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ledger.jit import Int, kernel

Counts: TypeAlias = NDArray[np.int64]
Rows: TypeAlias = NDArray[np.void]

SUM_MASK = (1 << 62) - 1
LONGEST_NS = 1 << 40  # 18 minutes; a longer duration is counted as this
NO_DECISION = 65535  # a row that was answered from memory or not at all
SCORE_NONE = 65535  # ledger.record.SCORE_NONE
SCORE_TOP = 10_000  # probability 1
RULE_DECLINED, STEP_UP = 301, 302  # engine.decision.Decision
REVIEW = 128  # ledger.record.Flag
LABEL = 131  # ledger.record.Kind
FRAUD = 1  # engine.label_events.Label


@kernel
def bucket_index(edges: Counts, value: int) -> int:
    """Return the first index whose edge is not below ``value``; ``len(edges)`` when all are.

    Parameters: ``edges`` i64[k] rising, ``value`` i64.
    """
    low = 0
    high = len(edges)
    while low < high:
        middle = (low + high) // 2
        if edges[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def count_batch(
    requests: Rows,
    request_count: int,
    replies: Rows,
    reply_count: int,
    decisions: NDArray[np.uint16],
    mti_slots: NDArray[np.uint8],
    code_slots: NDArray[np.uint8],
    codes: Counts,
    requests_in: Counts,
    faults: Counts,
    decided: Counts,
    responses: Counts,
) -> None:
    """Count requests by MTI, faults and decisions, and replies by MTI and response code.

    Parameters
    ----------
    requests : REQUEST[>= request_count]
    replies : REPLY[>= reply_count]
    decisions : u16[>= request_count]
        Decision of each request; NO_DECISION is not counted.
    mti_slots : u8[2, 10000]
        MTI -> slot, row 0 of requests, row 1 of replies. The last slot of ``requests_in`` is that
        of an unreadable MTI, the one before it that of any other; the last slot of ``responses``
        is that of any other.
    code_slots : u8[65536]
        Response code -> slot; 0 = none yet. Slots are handed out in order of appearance.
    codes : i64[k]
        ``codes[0]`` counts the slots in use; ``codes[s]`` is the code of slot s. Codes that find
        no slot free are counted in slot 0.
    requests_in : i64[s], faults : i64[f], decided : i64[d], responses : i64[r, k]
        Counters, added to. A value past the end is counted in the last place.
    """
    unreadable = len(requests_in) - 1
    last_fault = len(faults) - 1
    last_decision = len(decided) - 1
    for row in range(request_count):
        mti = requests[row].mti
        if mti < 0:
            requests_in[unreadable] += 1
        elif mti > 9999:
            requests_in[unreadable - 1] += 1
        else:
            requests_in[mti_slots[0, mti]] += 1
        fault = requests[row].fault
        if fault != 0:
            faults[fault if 0 < fault < last_fault else last_fault] += 1
        decision = decisions[row]
        if decision != NO_DECISION:
            decided[min(last_decision, decision)] += 1

    for row in range(reply_count):
        mti = replies[row].mti
        mti_slot = np.int64(len(responses) - 1)
        if 0 <= mti <= 9999:
            mti_slot = np.int64(mti_slots[1, mti])
        code = replies[row].response
        slot = np.int64(code_slots[code])
        if slot == 0 and codes[0] + 1 < len(codes):
            codes[0] += 1
            slot = codes[0]
            codes[slot] = code
            code_slots[code] = slot
        responses[mti_slot, slot] += 1


@kernel
def count_hits(
    records: Rows, record_count: int, version: int, rule_hits: Counts, last_s: Counts
) -> tuple[int, int]:
    """Count rule hits of ledger records; return how many of other sets had hits, and the labels.

    Parameters
    ----------
    records : RECORD[>= record_count]
        Labels repeat the hits of their payment: they are counted by themselves.
    version : int
        Of the rule set whose bits are counted.
    rule_hits : i64[>= 128]
        Hits of each rule, added to.
    last_s : i64[>= 128]
        Unix second of the last hit of each, set.
    """
    others = labels = 0
    for row in range(record_count):
        record = records[row]
        if record.kind == LABEL:
            labels += 1
        elif record.hits_lo | record.hits_hi != np.uint64(0):
            if record.rules_version == version:
                second = np.int64(record.ts_ns // np.uint64(1_000_000_000))
                _count_bits(record.hits_lo, 0, second, rule_hits, last_s)
                _count_bits(record.hits_hi, 64, second, rule_hits, last_s)
            else:
                others += 1
    return others, labels


@kernel
def _count_bits(hits: Int, first: Int, second: Int, rule_hits: Counts, last_s: Counts) -> None:
    rule = first
    while hits != np.uint64(0):
        if hits & np.uint64(1):
            rule_hits[rule] += 1
            last_s[rule] = second
        hits = hits >> np.uint64(1)
        rule += 1


@kernel
def count_records(records: Rows, record_count: int, scores: Counts, score_facts: Counts) -> None:
    """Count scores of ledger records.

    Parameters
    ----------
    records : RECORD[>= record_count]
    scores : i64[k]
        Scores in k equal parts of 0 to 1, upper ends included, added to.
    score_facts : i64[3]
        Sum of the scores x 10,000; authorizations that no scorer saw; those that a rule refused,
        stepped up or sent to review. All added to.
    """
    width = SCORE_TOP // len(scores)
    for row in range(record_count):
        kind = records[row].kind
        if (kind == 0 or kind > 5) and kind != 31:  # ledger.record.Kind: those that are scored
            continue
        result = records[row].result
        if result in (RULE_DECLINED, STEP_UP) or records[row].flags & REVIEW:
            score_facts[2] += 1
        if records[row].score == SCORE_NONE:
            score_facts[1] += 1
            continue
        score = min(np.int64(records[row].score), np.int64(SCORE_TOP))
        scores[(score - 1) // width if score > 0 else 0] += 1
        score_facts[0] += score


@kernel
def observe_stages(
    stage_ns: Counts, weight: int, edges: Counts, counts: Counts, sums: Counts
) -> None:
    """Add one duration of each stage, ``weight`` times; a negative duration is left out.

    Parameters: ``stage_ns`` i64[s] ns, ``weight`` i64 0 to 2^20, ``edges`` i64[k] ns,
    ``counts`` i64[>= s, k + 1], ``sums`` i64[>= s] ns.
    """
    for stage in range(len(stage_ns)):
        if stage_ns[stage] < 0:
            continue
        duration = min(stage_ns[stage], LONGEST_NS)
        counts[stage, bucket_index(edges, duration)] += weight
        sums[stage] = (sums[stage] + duration * weight) & SUM_MASK


@kernel
def observe_requests(
    arrived_ns: Counts,
    request_count: int,
    now_ns: int,
    edges: Counts,
    counts: Counts,
    sums: Counts,
) -> None:
    """Add the time from the arrival of each request to ``now_ns``; a negative one counts as 0.

    Parameters: ``arrived_ns`` i64[>= request_count] ns of the same clock as ``now_ns``,
    ``edges`` i64[k] ns, ``counts`` i64[k + 1], ``sums`` i64[1] ns.
    """
    total = 0
    for row in range(request_count):
        duration = min(max(now_ns - arrived_ns[row], 0), LONGEST_NS)
        counts[bucket_index(edges, duration)] += 1
        total += duration
    sums[0] = (sums[0] + total) & SUM_MASK
