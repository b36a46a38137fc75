"""What the metrics kernels should count, one row at a time with Python's own numbers."""

from collections import Counter
from typing import Any


def batch_counts(
    requests: Any, replies: Any, decisions: list[int], known_requests: Any, known_replies: Any
) -> dict[str, Counter[Any]]:
    """Count a batch by name: MTI in, fault, decision, and (MTI, code) out."""
    counts: dict[str, Counter[Any]] = {
        "requests": Counter(),
        "faults": Counter(),
        "decisions": Counter(),
        "responses": Counter(),
    }
    for request, decision in zip(requests, decisions, strict=True):
        mti = int(request["mti"])
        name = "unreadable" if mti < 0 else str(mti) if mti in known_requests else "other"
        counts["requests"][name] += 1
        if request["fault"] != 0:
            counts["faults"][int(request["fault"])] += 1
        if decision != 65535:
            counts["decisions"][min(decision, 999)] += 1
    for reply in replies:
        mti = int(reply["mti"])
        name = str(mti) if mti in known_replies else "other"
        counts["responses"][name, int(reply["response"])] += 1
    return counts


def record_counts(records: Any) -> tuple[Counter[int], Counter[int], list[int]]:
    """Return hits by rule, scores by twentieth, and facts.

    These are the sum of scores x 10,000, authorizations not scored, and alerts: what a rule has
    refused (301), stepped up (302) or sent to review.
    """
    hits: Counter[int] = Counter()
    scores: Counter[int] = Counter()
    total = unscored = alerts = 0
    for record in records:
        both = int(record["hits_lo"]) | int(record["hits_hi"]) << 64
        if record["kind"] != 131:  # a label repeats the hits of its payment
            hits.update(bit for bit in range(128) if both >> bit & 1)
        if record["kind"] not in {1, 2, 3, 4, 5, 31}:
            continue
        alerts += record["result"] in {301, 302} or bool(record["flags"] & 128)
        score = int(record["score"])
        if score == 65535:
            unscored += 1
            continue
        score = min(score, 10_000)
        # The first part whose upper end, k/20, is not below the score.
        scores[next(k for k in range(20) if score <= (k + 1) * 500)] += 1
        total += score
    return hits, scores, [total, unscored, alerts]


def durations(values_ns: list[int], edges_ns: Any) -> tuple[list[int], int]:
    """Return how many durations fall under each edge (the last place: over all), and their sum."""
    counts = [0] * (len(edges_ns) + 1)
    for value in values_ns:
        place = 0
        while place < len(edges_ns) and value > edges_ns[place]:
            place += 1
        counts[place] += 1
    return counts, sum(values_ns)
