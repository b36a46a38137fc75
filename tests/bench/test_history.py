"""A journal as examples: features as they were scored, frauds as they were reported."""

from pathlib import Path
from random import Random

import numpy as np
import pytest

from bench import history
from engine.errors import ProblemFoundError
from engine.label_events import Label
from engine.rescore import Rescorer
from scoring.train import train_model
from tests.support.labelled import Labelled
from tests.support.small_engine import HASH_KEY, TABLES, SmallEngine

DATA = Path("data")


def _stand_in(monkeypatch: pytest.MonkeyPatch, live: Labelled) -> None:
    """Let the journal of ``live`` stand where a data folder would be read."""

    def run(_data: Path, sink: object) -> None:
        again = SmallEngine(limit_minor=10**9)
        records = live.records[len(again.events) :]
        Rescorer(again.state, TABLES, HASH_KEY, sink).apply(records, [])  # type: ignore[arg-type]

    labels = [row for row in live.records if row["kind"] == 131 and row["status"] == 1]
    numbers = np.array([int(row["ref_seq"]) for row in labels], np.uint64)
    monkeypatch.setattr(history, "run_history", run)
    monkeypatch.setattr(history, "frauds_of", lambda _data: numbers)


def test_young_payments_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a month the last week is not taught; reports are the labels, confirmations are not."""
    live = Labelled()
    live.pay(Random(3), 400, [50])
    payments = live.payments()
    for row in payments[5:65:3].tolist():
        live.label(row, Label.FRAUD)
    live.label(int(payments[0]), Label.GENUINE)
    _stand_in(monkeypatch, live)
    features, labels, rows = history.journal_examples(DATA, 7)
    last_s = int(live.records["ts_ns"][payments[-1]]) // 10**9
    assert 200 < len(features) < 400
    assert int(rows["t_s"].max()) <= last_s - 7 * history.DAY_S
    assert int(labels.sum()) == 20
    assert rows["amount_minor"].tolist() == (
        live.records["amount_minor"][payments][: len(rows)].tolist()
    )
    model = train_model(features, labels, rows, seed=1, trees=3, depth=2)
    assert model.meta.rows > 100


def test_a_young_journal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day of payments has no reports yet; none at all is said too."""
    live = Labelled()
    _stand_in(monkeypatch, live)
    with pytest.raises(ProblemFoundError, match="no scored payments"):
        history.journal_examples(DATA, 7)
    live.pay(Random(1), 5, [])
    with pytest.raises(ProblemFoundError, match="no payment is 7 days old"):
        history.journal_examples(DATA, 7)
