"""Numbers, names and events of new accounts and cards."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.registrar import RegistrarError
from ledger.pan import Pan
from ledger.record import Kind
from tests.support.disk_engine import Bounds, DiskEngine, import_of
from tests.support.small_engine import START_NS, pan


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DiskEngine]:
    """An empty folder with room for five accounts and eight cards."""
    with DiskEngine(tmp_path, Bounds(5, 8, 64, 256)) as opened:
        yield opened


def test_events_open_accounts_before_they_issue_cards(engine: DiskEngine) -> None:
    """Numbers follow each other from 1; customers of two accounts have one number."""
    done = engine.register(import_of(3, 2))

    records = done.records
    assert records["kind"].tolist() == [Kind.ACCOUNT_OPEN] * 3 + [Kind.CARD_ISSUE] * 6
    assert records["account"].tolist() == [1, 2, 3, 1, 1, 2, 2, 3, 3]
    assert records["card"].tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert records["customer"][:3].tolist() == [1, 1, 2]
    assert records["seq"].tolist() == list(range(1, 10))
    assert (records["ts_ns"] == START_NS).all()
    assert engine.state.accounts["otb_minor"][1:4].tolist() == [50_000] * 3
    row = engine.state.card_index.find(int(done.tokens[4, 0]), int(done.tokens[4, 1]))
    assert row == 5
    assert engine.partition.vault.reveal(5) == Pan(pan(5))


@pytest.mark.parametrize(
    ("first", "reason"), [(3, "account A3 already exists"), (6, r"limits\.accounts_max")]
)
def test_a_refused_import_leaves_nothing(engine: DiskEngine, first: int, reason: str) -> None:
    """A taken name or a bound refuses all of it, by name and without a card number."""
    engine.register(import_of(3, 2))
    numbers = engine.partition.vault.last_numbers()
    accounts = 1 if first == 3 else 3

    with pytest.raises(RegistrarError, match=reason) as caught:
        engine.registrar.register(import_of(accounts, 0, first=first), START_NS)

    assert engine.partition.vault.last_numbers() == numbers
    assert "9999" not in str(caught.value)


def test_a_card_number_that_is_taken_takes_its_account_back(engine: DiskEngine) -> None:
    """The account's row is already written when the card conflicts: it goes, too."""
    engine.register(import_of(2, 2))
    batch = import_of(1, 1, first=4)
    batch.pans[0] = Pan(pan(1))

    with pytest.raises(RegistrarError) as caught:
        engine.registrar.register(batch, START_NS)

    assert pan(1) not in str(caught.value)
    assert engine.partition.vault.account_number("A4") == 0
    assert engine.partition.vault.last_numbers()[:2] == (2, 4)


def test_a_further_card_is_issued_up_to_the_bound(engine: DiskEngine) -> None:
    """One card on a standing account: the next number; past the bound it is refused by name."""
    engine.register(import_of(3, 2))
    for number in (7, 8):
        issued = engine.registrar.issue(2, Pan(pan(number)), 3011, START_NS)
        assert issued.card_numbers.tolist() == [number]
        assert issued.records["account"].tolist() == [2]
        assert issued.records["expiry_yymm"].tolist() == [3011]

    with pytest.raises(RegistrarError, match=r"limits\.cards_max"):
        engine.registrar.issue(2, Pan(pan(9)), 3011, START_NS)
    with pytest.raises(RegistrarError, match=r"limits\.cards_max"):
        engine.registrar.register(import_of(1, 1, first=9), START_NS)


def test_accounts_without_cards_may_be_opened(engine: DiskEngine) -> None:
    """No card, no token, one event each."""
    done = engine.register(import_of(2, 0))

    assert done.tokens.shape == (0, 2)
    assert np.count_nonzero(done.records["kind"] == Kind.ACCOUNT_OPEN) == 2


def test_cards_with_a_zone_get_a_record_of_it(engine: DiskEngine) -> None:
    """After the cards are issued; cards without one need none."""
    batch = replace(import_of(1, 2), zones=np.array([0, 469], np.uint16))
    done = engine.registrar.register(batch, START_NS).records
    kinds = [Kind.ACCOUNT_OPEN, Kind.CARD_ISSUE, Kind.CARD_ISSUE, Kind.CARD_ZONE]
    assert done["kind"].tolist() == kinds
    assert (int(done["card"][3]), int(done["status"][3])) == (2, 469)
