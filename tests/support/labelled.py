"""A small engine that plays payments and labels in order, and keeps every record."""

from random import Random

import numpy as np
from numpy.typing import NDArray

from engine.events import apply_events
from engine.label_events import Label, apply_labels, label_record
from tests.support.small_engine import START_NS, TABLES, SmallEngine, frame

MERCHANTS = 3
_NS = 10**9


class Labelled:
    """Payments of six cards at a few merchants; ``records`` is the whole journal so far."""

    def __init__(self, engine: SmallEngine | None = None) -> None:
        self.engine = engine or SmallEngine(limit_minor=10**9)
        self.parts: list[NDArray[np.void]] = [self.engine.events.copy()]
        self.now_ns = START_NS
        self.stan = 0

    @property
    def records(self) -> NDArray[np.void]:
        """Every record in order."""
        return np.concatenate(self.parts)

    def pay(self, rng: Random, count: int, cuts: list[int], *, wait_s: int = 7_000) -> None:
        """Play ``count`` payments, on average ``wait_s`` apart, in batches of the sizes ``cuts``.

        What is paid depends on ``rng`` alone.
        """
        messages = []
        for _ in range(count):
            self.now_ns += rng.randint(1, 2 * wait_s) * _NS
            self.stan += 1
            amount = f"{int(100 * rng.lognormvariate(3.5, 1.0)) + 1:012d}"
            shop = f"MERCHANT000000{rng.randint(1, MERCHANTS)}"
            card = rng.randint(1, 6)
            messages.append(
                (self.now_ns, frame("0100", card, self.stan, de4=amount, de42=f"{shop:<15}"))
            )
        self.parts.append(self.engine.play(messages, cuts)[0])

    def label(self, row: int, label: Label) -> None:
        """Let a label about the payment in ``row`` of ``records`` arrive now."""
        record = label_record(self.records[row], label, self.now_ns)
        state = self.engine.state
        assert apply_events(record, state.accounts, state.cards, state.cursor) == 1
        apply_labels(record, state, TABLES)
        self.parts.append(record)

    def payments(self) -> NDArray[np.int64]:
        """Return the rows of ``records`` that are scored payments."""
        return np.flatnonzero(self.records["customer"] != 0)


def played(seed: int, cuts: list[int], labels: int = 4) -> Labelled:
    """Return a run with labels among its payments; the same seed, the same messages."""
    rng, live = Random(seed), Labelled()
    for _ in range(labels):
        live.pay(rng, 9, list(cuts))
        label = Label.FRAUD if rng.random() < 0.8 else Label.GENUINE
        live.label(int(rng.choice(live.payments().tolist())), label)
    live.pay(rng, 9, list(cuts))
    return live
