"""What a load run found: the figures, and the outcome of every payment for reconciliation."""

from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from bench.latency import histogram, percentile_us

if TYPE_CHECKING:
    from bench.load_client import Plan

_APPROVED = ("00", "10", "85")


class Snapshot(NamedTuple):
    """A run at one moment. Counts are since its start; rate and percentiles since the last look.

    ``truth`` i64[4, 2]: payments by fraud scenario and (0 declined, 1 approved).
    """

    at_s: float
    sent: int
    answered: int
    approved: int
    declined: int
    late_sends: int
    errors: int
    responses: dict[str, int]
    truth: NDArray[np.int64]
    rate: float  # answers/s
    p50_us: int
    p99_us: int
    latency: NDArray[np.int64]

    @classmethod
    def empty(cls, latency: NDArray[np.int64]) -> Self:
        """Return the snapshot before a run starts."""
        zeros = np.zeros_like(latency)
        return cls(0.0, 0, 0, 0, 0, 0, 0, {}, np.zeros((4, 2), np.int64), 0.0, 0, 0, zeros)

    @classmethod
    def take(
        cls,
        now_us: int,
        state: Any,
        codes: NDArray[np.int64],
        truth: NDArray[np.int64],
        latency: NDArray[np.int64],
    ) -> Self:
        """Return the counts now, without rate and percentiles."""
        errors = sum(int(state[name]) for name in ("unknown", "malformed", "changed"))
        return cls(
            now_us / 1e6,
            int(state["sent"]),
            int(state["answered"]),
            int(state["approved"]),
            int(state["declined"]),
            int(state["late"]),
            errors,
            responses_by_code(codes),
            truth.copy(),
            0.0,
            0,
            0,
            latency.copy(),
        )

    def since(self, earlier: Self) -> Self:
        """Return this snapshot with rate and percentiles since ``earlier``."""
        fresh = self.latency - earlier.latency
        span_s = max(self.at_s - earlier.at_s, 1e-9)
        return self._replace(
            rate=(self.answered - earlier.answered) / span_s,
            p50_us=percentile_us(fresh, 0.5),
            p99_us=percentile_us(fresh, 0.99),
        )

    @property
    def frauds(self) -> int:
        """Fraudulent payments answered."""
        return int(self.truth[1:].sum())

    @property
    def frauds_declined(self) -> int:
        """Fraudulent payments declined."""
        return int(self.truth[1:, 0].sum())

    @property
    def false_declines(self) -> int:
        """Genuine payments declined, for whatever reason."""
        return int(self.truth[0, 0])


class LoadResult(NamedTuple):
    """The outcome of a run; ``summary`` is the part that prints as JSON.

    ``slots``: SLOT[payments] (``bench.load_state``), row k has DE37 = first_number + k and was made
    from ``orders[k % len(orders)]``; ``truth`` as in Snapshot; ``broken``: why a connection failed,
    "" = none did; ``histogram``: HdrHistogram in us.
    """

    summary: dict[str, Any]
    slots: NDArray[Any]
    orders: NDArray[Any]
    first_number: int
    truth: NDArray[np.int64]
    histogram: Any
    broken: str
    interrupted: bool

    @property
    def ok(self) -> bool:
        """Whether every message was answered once, in its place, and nothing else came."""
        wrong = ("lost", "doubled", "swapped", "errors")
        return not self.broken and not any(self.summary[name] for name in wrong)

    def approvals(self) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
        """Return the numbers (DE37) of all approved payments and their DE38 (S6), in order."""
        slots = self.slots
        codes = [code_number(code) for code in _APPROVED]
        rows = np.flatnonzero((slots["answered"] > 0) & np.isin(slots["response"], codes))
        text = np.ascontiguousarray(slots["approval"][rows]).view(np.uint8).reshape(-1, 8)
        approval = np.ascontiguousarray(text[:, :6]).view("S6").ravel()
        return rows + self.first_number, approval


def code_number(code: str) -> int:
    """Return DE39's two characters as a number, first in the low byte."""
    return ord(code[0]) + 256 * ord(code[1])


def responses_by_code(codes: NDArray[np.int64]) -> dict[str, int]:
    """Return answers by DE39, most frequent first; unprintable characters as ``?``."""
    found = np.flatnonzero(codes)
    by_code: dict[str, int] = {}
    for number in found[np.argsort(-codes[found], kind="stable")]:
        pair = (int(number) & 255, int(number) >> 8)
        text = "".join(chr(c) if 32 < c < 127 else "?" for c in pair)
        by_code[text] = by_code.get(text, 0) + int(codes[number])
    return by_code


def summarize(
    plan: "Plan",
    state: Any,
    slots: NDArray[Any],
    orders: NDArray[Any],
    codes: NDArray[np.int64],
    truth: NDArray[np.int64],
    latency: NDArray[np.int64],
    *,
    stopped_us: int,
    broken: str,
    interrupted: bool,
) -> LoadResult:
    """Turn the counters of a run into its result; ``stopped_us`` is when sending ended.

    Counts are of the whole run. seconds, tps and latencies are of the part after the warm-up:
    tps = measured answers / time from the warm-up's end to the last of them, or to the end of
    sending if that is later.
    """
    report = histogram(latency)
    span_us = max(stopped_us, int(state["last_us"])) - int(state["warm_us"])
    seconds = max(span_us, 1) / 1e6
    missing = np.maximum(slots["expected"].astype(np.int64) - slots["answered"], 0).sum()
    missing += np.maximum(slots["back_expected"].astype(np.int64) - slots["back_answered"], 0).sum()
    counted = ("sent", "answered", "approved", "declined", "repeats", "reversals")
    summary: dict[str, Any] = {name: int(state[name]) for name in counted}
    summary |= {
        "lost": int(missing),
        "errors": sum(int(state[name]) for name in ("unknown", "malformed", "changed")),
        "seconds": round(seconds, 3),
        "tps": round(int(state["answered_measured"]) / seconds, 1),
        "p50_us": int(report.get_value_at_percentile(50)),
        "p90_us": int(report.get_value_at_percentile(90)),
        "p99_us": int(report.get_value_at_percentile(99)),
        "p999_us": int(report.get_value_at_percentile(99.9)),
        "max_us": int(state["max_us"]),
        "connections": plan.connections,
        "rate": plan.rate or None,
        "in_flight": plan.in_flight or None,
        "doubled": int(state["doubled"]),
        "swapped": int(state["swapped"]),
        "unknown": int(state["unknown"]),
        "malformed": int(state["malformed"]),
        "changed": int(state["changed"]),
        "late_sends": int(state["late"]),
        "responses": responses_by_code(codes),
        "frauds": int(truth[1:].sum()),
        "frauds_declined": int(truth[1:, 0].sum()),
        "genuine_declined": int(truth[0, 0]),
        "by_scenario": {
            str(row): {"declined": int(truth[row, 0]), "approved": int(truth[row, 1])}
            for row in range(len(truth))
        },
        "warmup_s": plan.warmup_s,
        "dialect": plan.dialect,
        "seed": plan.seed,
        "first_number": plan.first_number,
        "broken": broken,
        "interrupted": interrupted,
    }
    first = int(state["first_number"])
    return LoadResult(summary, slots, orders, first, truth.copy(), report, broken, interrupted)
