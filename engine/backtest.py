"""What a rule set would have done: counts over pairs of decisions, one row a payment.

Before is what was decided, after what the set decides. Truth is 1 for a confirmed fraud, 0 for a
genuine payment and -1 where nobody has said. Refused means that no money would have moved.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.decision import Decision
from engine.rules.program import Program
from engine.rules.tree import ActionKind, Mode

EXAMPLES_MAX = 20
_DAY_NS = 86_400 * 10**9
_APPROVING = (Decision.APPROVED, Decision.CHECKED)
_EXAMPLE_FIELDS = ("seq", "ts_ns", "bin", "card", "amount_minor", "currency", "mcc", "country")


@dataclass(slots=True)
class Tally:
    """Sums over the parts of a backtest. Amounts are minor units, whatever their currency."""

    program: Program
    payments: int = 0
    frauds: int = 0
    known: int = 0  # payments whose truth is known
    sums: dict[str, int] = field(default_factory=dict)
    changes: dict[tuple[int, int], int] = field(default_factory=dict)
    days: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    rules: NDArray[np.int64] = field(init=False)  # i64[r, len(RULE_SUMS)]
    examples: list[dict[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rules = np.zeros((self.program.rule_count, len(RULE_SUMS)), np.int64)
        for name in ("refused", "caught", "missed", "false_declines"):
            for when in ("before", "after"):
                self.sums |= {f"{name}_{when}": 0, f"{name}_{when}_minor": 0}

    def add(
        self,
        before: NDArray[np.void],
        after: NDArray[np.void],
        truth: NDArray[np.int8],
        refusing: NDArray[np.int16],
        hits: NDArray[np.uint64],
    ) -> None:
        """Count a part: RECORD (k,) each, truth i8 (k,), ``refusing`` i16 (k,): rule or -1.

        ``hits`` u64 (k, words) has a bit for each rule that held after.
        """
        amount = after["amount_minor"]
        was, now = ~np.isin(before["result"], _APPROVING), ~np.isin(after["result"], _APPROVING)
        is_fraud, is_genuine = truth == 1, truth == 0
        self.payments += len(after)
        self.frauds += int(is_fraud.sum())
        self.known += int((truth >= 0).sum())
        for name, refused in (("before", was), ("after", now)):
            for label, chosen in (
                ("refused", refused),
                ("caught", refused & is_fraud),
                ("missed", ~refused & is_fraud),
                ("false_declines", refused & is_genuine),
            ):
                self._sum(f"{label}_{name}", chosen, amount)
        self._count_changes(before["result"], after["result"])
        self._count_days(after["ts_ns"], was, now, is_fraud)
        self._count_rules(hits, truth, amount, refusing)
        self._note_examples(before, after, was != now, refusing)

    def _sum(self, name: str, chosen: NDArray[np.bool_], amount: NDArray[np.int64]) -> None:
        for key, value in ((name, int(chosen.sum())), (f"{name}_minor", int(amount[chosen].sum()))):
            self.sums[key] = self.sums.get(key, 0) + value

    def _count_changes(self, before: NDArray[np.uint16], after: NDArray[np.uint16]) -> None:
        differs = before != after
        pairs = before[differs].astype(np.int64) << 16 | after[differs]
        for pair, count in zip(*np.unique(pairs, return_counts=True), strict=True):
            key = (int(pair) >> 16, int(pair) & 0xFFFF)
            self.changes[key] = self.changes.get(key, 0) + int(count)

    def _count_days(
        self,
        ts_ns: NDArray[np.uint64],
        was: NDArray[np.bool_],
        now: NDArray[np.bool_],
        is_fraud: NDArray[np.bool_],
    ) -> None:
        """Add payments, refused before and after, frauds, and caught before and after, by day."""
        days = (ts_ns // _DAY_NS).astype(np.int64)
        for day in np.unique(days).tolist():
            here = days == day
            row = self.days.setdefault(day, np.zeros(6, np.int64))
            row += [int((here & c).sum()) for c in
                    (here, was, now, is_fraud, was & is_fraud, now & is_fraud)]  # fmt: skip

    def _count_rules(
        self,
        hits: NDArray[np.uint64],
        truth: NDArray[np.int8],
        amount: NDArray[np.int64],
        refusing: NDArray[np.int16],
    ) -> None:
        held = np.bitwise_or.reduce(hits, axis=0).view(np.uint8)
        places = np.flatnonzero(np.unpackbits(held, bitorder="little"))
        for place in places[places < self.program.rule_count].tolist():
            hit = hits[:, place >> 6] >> np.uint64(place & 63) & np.uint64(1) != 0
            decided = refusing == place
            chosen = (hit, hit & (truth == 1), hit & (truth == 0), decided,
                      decided & (truth == 1), decided & (truth == 0))  # fmt: skip
            counts = [int(c.sum()) for c in chosen]
            amounts = [int(amount[hit & (truth == 1)].sum()), int(amount[decided].sum())]
            self.rules[place] += [*counts, *amounts]

    def _note_examples(
        self,
        before: NDArray[np.void],
        after: NDArray[np.void],
        differs: NDArray[np.bool_],
        refusing: NDArray[np.int16],
    ) -> None:
        for row in np.flatnonzero(differs)[: EXAMPLES_MAX - len(self.examples)].tolist():
            example = {name: int(after[row][name]) for name in _EXAMPLE_FIELDS}
            example["record"] = int(before[row]["seq"])
            example["before"], example["after"] = (
                int(rows[row]["result"]) for rows in (before, after)
            )
            example["rule"] = int(refusing[row])
            self.examples.append(example)


RULE_SUMS = (
    "hits",
    "frauds",
    "genuine",
    "refused",
    "refused_frauds",
    "refused_genuine",
    "frauds_minor",
    "refused_minor",
)


def result_of(
    tally: Tally,
    trips: list[str],
    card_text: Any = None,
    modes: NDArray[np.uint8] | None = None,
) -> dict[str, Any]:
    """Return the tally as plain values, for JSON and the reports; cards are masked.

    ``modes`` u8[r] are those in force, None = as the file states them.
    """
    if modes is None:
        modes = tally.program.rules["mode"]
    rules = []
    for place, rule in enumerate(tally.program.source.rules):
        sums = dict(zip(RULE_SUMS, tally.rules[place].tolist(), strict=True))
        judged = sums["frauds"] + sums["genuine"]
        rules.append(
            {
                "rule": rule.name,
                "text": rule.text,
                "action": ActionKind(rule.action.kind).name.lower(),
                "mode": Mode(int(modes[place])).name.lower(),
                **sums,
                "precision": round(sums["frauds"] / judged, 4) if judged else None,
                "refused_share": round(sums["refused"] / max(tally.payments, 1), 6),
            }
        )
    before, after = (tally.sums.get(f"refused_{n}", 0) for n in ("before", "after"))
    return {
        "rules_version": f"{tally.program.version:08x}",
        "payments": tally.payments,
        "frauds": tally.frauds,
        "truth_known": tally.known,
        "approval_rate_before": _rate(tally.payments - before, tally.payments),
        "approval_rate_after": _rate(tally.payments - after, tally.payments),
        **{name: tally.sums.get(name, 0) for name in sorted(tally.sums)},
        "changes": [
            {"before": _decision(a), "after": _decision(b), "payments": count}
            for (a, b), count in sorted(tally.changes.items(), key=lambda item: -item[1])
        ],
        "rules": rules,
        "breakers_tripped": trips,
        "days": [
            dict(
                zip(
                    (
                        "day",
                        "payments",
                        "refused_before",
                        "refused_after",
                        "frauds",
                        "caught_before",
                        "caught_after",
                    ),
                    (day, *row.tolist()),
                    strict=True,
                )
            )
            for day, row in sorted(tally.days.items())
        ],
        "examples": [_example(example, tally.program, card_text) for example in tally.examples],
    }


def _example(example: dict[str, int], program: Program, card_text: Any) -> dict[str, Any]:
    place = example["rule"]
    masked = f"{example['bin']:06d}******"
    return {
        "record": example["record"],
        "ts_s": example["ts_ns"] // 10**9,
        "card": card_text(example["card"], example["bin"]) if card_text else masked,
        "amount_minor": example["amount_minor"],
        "currency": f"{example['currency']:03d}",
        "mcc": f"{example['mcc']:04d}",
        "country": f"{example['country']:03d}",
        "before": _decision(example["before"]),
        "after": _decision(example["after"]),
        "rule": program.names[place] if place >= 0 else "",
    }


def _decision(number: int) -> str:
    return Decision(number).name.lower()


def _rate(part: int, whole: int) -> float:
    return round(part / whole, 6) if whole else 0.0
