"""The audit finds nothing in a sound ledger, and each thing that is put wrong."""

from collections.abc import Callable
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engine.audit import INVARIANTS, Audit
from engine.replay import Replayer
from ledger.authorizations import State
from ledger.record import Kind
from tests.support.histories import ACCOUNTS, History
from tests.support.small_engine import HASH_KEY, TABLES

pytestmark = pytest.mark.kernels


class _Fold:
    """The fold of a journal in memory."""

    def __init__(self, history: History) -> None:
        from engine.state import Bounds, EngineState

        self.state = EngineState(Bounds(64, 64, 64, 4096, clearings_max=1024))
        self._replayer = Replayer(self.state, TABLES, HASH_KEY)
        self._played = history.player.played
        self._opened = len(history.engine.events)

    def __call__(self, batch: Any) -> None:
        names = [(row + self._opened, name) for row, name in self._played.originals]
        blobs = [blob._replace(row=blob.row + self._opened) for blob in self._played.blobs]
        self._replayer.apply(batch.records, names, blobs)

    def finish(self) -> None:
        """Nothing waits."""


@pytest.fixture(scope="module")
def history() -> History:
    """Play a few hundred events."""
    random, history = Random(7), History()
    for _ in range(60):
        for _ in range(4):
            history.say(random)
        history.file(random, 2)
        history.wait(600)
    history.limit(1, 90_000)
    return history


def _audit(history: History, spoil: Callable[[Any, Audit], None] | None = None) -> dict[str, Any]:
    records = np.concatenate([history.engine.events, history.player.played.all_records()])
    auditor = Audit(_Fold(history))  # type: ignore[arg-type]
    auditor(SimpleNamespace(records=records))  # type: ignore[arg-type]
    if spoil is not None:
        spoil(auditor.fold.state, auditor)
    return auditor.result()


def test_a_sound_ledger_has_no_faults(history: History) -> None:
    """Counts say that something was looked at."""
    facts = _audit(history)

    assert facts["ok"], facts["first_faults"]
    assert facts["accounts"] == ACCOUNTS
    assert facts["postings"] > 100
    assert facts["records"] == history.engine.state.next_seq - 1


def _set(name: str, change: int) -> Callable[[Any, Audit], None]:
    def spoil(state: Any, _: Audit) -> None:
        state.accounts[1][name] += change

    return spoil


def _hold_more(state: Any, _: Audit) -> None:
    state.ring[int(np.flatnonzero(state.ring["state"] == State.OPEN)[0])]["held_minor"] += 1


def _hold_closed(state: Any, _: Audit) -> None:
    state.ring[int(np.flatnonzero(state.ring["state"] == State.DECLINED)[0])]["held_minor"] = 5


def _owe_less(_: Any, auditor: Audit) -> None:
    auditor._positions[1].purchases_minor -= 1


def _unbalance(_: Any, auditor: Audit) -> None:
    key = next(iter(auditor._totals))
    auditor._totals[key] += 1


def _twice(state: Any, _: Audit) -> None:
    state.posted[2]["id_hi"], state.posted[2]["id_lo"] = state.posted[1][["id_hi", "id_lo"]]


def _back(state: Any, _: Audit) -> None:
    state.posted[1]["back_minor"] = state.posted[1]["amount_minor"] + 1


@pytest.mark.parametrize(
    ("spoil", "invariant"),
    [
        (_set("limit_minor", 1), "I2"),
        (_set("otb_minor", -(10**9)), "I2"),
        (_set("hold_minor", 1), "I3"),
        (_set("used_minor", 1), "I9"),
        (_hold_more, "I3"),
        (_hold_closed, "I4"),
        (_owe_less, "I6"),
        (_unbalance, "I1"),
        (_twice, "I7"),
        (_back, "I4"),
    ],
)
def test_what_is_put_wrong_is_found(
    history: History, spoil: Callable[[Any, Audit], None], invariant: str
) -> None:
    """Each fault by its invariant."""
    facts = _audit(history, spoil)

    assert not facts["ok"]
    assert any(fault.startswith(f"{invariant}:") for fault in facts["first_faults"])
    assert invariant in INVARIANTS


def test_an_approval_that_overdraws_and_a_gap_are_found(history: History) -> None:
    """I5 and I11, from the records alone."""
    auditor = Audit(SimpleNamespace(finish=lambda: None))  # type: ignore[arg-type]
    auditor.fold = lambda _: None  # type: ignore[assignment]
    records = history.engine.events[:2].copy()
    overdrawn = np.concatenate([records, records[:1]])
    overdrawn[2]["kind"], overdrawn[2]["amount_minor"] = Kind.FINANCIAL, 50_001
    overdrawn[2]["seq"] = 9

    auditor(SimpleNamespace(records=overdrawn))  # type: ignore[arg-type]

    assert [fault.partition(":")[0] for fault in auditor.faults] == ["I11", "I2"]
