"""A data folder opened, used, closed and opened again holds the same state."""

from pathlib import Path
from random import Random

import pytest

from engine.config import Config
from engine.errors import ConfigError
from engine.partition import StateFold, bounds_of
from engine.state import Bounds
from ledger.authorizations import batch_rows_max
from ledger.errors import LedgerError
from ledger.pan import Pan
from ledger.recovery import scan_running
from ledger.vault import VaultError
from tests.support.disk_engine import BOUNDS, DiskEngine, import_of
from tests.support.draws import SECONDS_S, Traffic, stream
from tests.support.small_engine import pan
from tests.support.streams import Player

_TRAFFIC = Traffic(
    cards=6, accounts=3, events=False, gaps_s=SECONDS_S, stans=40, merchants=9, ids=True
)
_REQUIRED = (False, True)


def _use(data: Path, *, snapshot: bool, seed: int = 1) -> tuple[str, Player]:
    """Fill a folder with accounts, cards and traffic; return the state's hash and the player."""
    with DiskEngine(data) as engine:
        engine.register(import_of(3, 2))
        player = Player(engine, _REQUIRED)
        player.play(stream(Random(seed), _TRAFFIC, 150), [7] * 30)
        engine.commit(player)
        engine.drain()
        if snapshot:
            engine.partition.snapshot()
        return engine.hash(), player


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_folder_opens_at_the_state_it_was_closed_with(tmp_path: Path, snapshot: bool) -> None:
    """From the journal alone, and from a snapshot without reading a record again."""
    expected, player = _use(tmp_path, snapshot=snapshot)

    with DiskEngine(tmp_path) as engine:
        assert engine.hash() == expected
        assert engine.notes == []
        replayed = engine.partition.replayed_count
        assert replayed == (0 if snapshot else 9 + sum(map(len, player.played.records)))


def test_a_snapshot_and_the_records_after_it_open_together(tmp_path: Path) -> None:
    """The tail is replayed on the snapshot, cards of that time can be found, repeats are known."""
    _use(tmp_path, snapshot=True)
    with DiskEngine(tmp_path) as engine:
        engine.register(import_of(1, 2, first=4))
        player = Player(engine, _REQUIRED)
        player.play(stream(Random(2), _TRAFFIC, 60), [5] * 20)
        engine.commit(player)
        engine.drain()
        expected = engine.hash()

    with DiskEngine(tmp_path) as engine:
        assert engine.hash() == expected
        again = Player(engine, _REQUIRED)
        again.play(stream(Random(2), _TRAFFIC, 20)[:1])
        assert again.played.results[0].fields == player.played.results[0].fields
        assert sum(map(len, again.played.records)) == 0


def test_vault_rows_that_the_journal_never_heard_of_are_dropped(tmp_path: Path) -> None:
    """A crash between vault and journal leaves nothing behind; the names are free again."""
    _use(tmp_path, snapshot=False)
    with DiskEngine(tmp_path) as engine:
        engine.registrar.register(import_of(2, 2, first=4), 1)  # and then nothing more

    with DiskEngine(tmp_path) as engine:
        assert engine.notes == ["2 accounts and 4 cards had no journal record: dropped"]
        assert engine.partition.vault.last_numbers()[:2] == (3, 6)
        engine.register(import_of(2, 2, first=4))
        assert engine.state.account_count == 5


def test_a_folder_without_its_vault_is_refused(tmp_path: Path) -> None:
    """Every card would be unknown: the line says what is missing."""
    _use(tmp_path, snapshot=False)
    (tmp_path / "vault.db").unlink()
    with pytest.raises(VaultError, match=r"vault\.db knows no account, the journal 3 accounts"):
        DiskEngine(tmp_path)


def test_an_older_vault_gives_no_number_out_again(tmp_path: Path) -> None:
    """It is said, it serves what it knows, and new accounts and cards come after the journal's."""
    with DiskEngine(tmp_path) as engine:
        engine.register(import_of(1, 2))
    older = (tmp_path / "vault.db").read_bytes()
    with DiskEngine(tmp_path) as engine:
        engine.register(import_of(2, 2, first=2))
    (tmp_path / "vault.db").write_bytes(older)

    with DiskEngine(tmp_path) as engine:
        (note,) = engine.notes
        assert note.startswith("the vault knows 1 accounts and 2 cards, the journal 3 and 6")
        done = engine.register(import_of(2, 1, first=4))
        assert done.records["account"].tolist() == [4, 5, 4, 5]
        assert done.records["card"].tolist() == [0, 0, 7, 8]
        assert done.records["customer"][:2].tolist() == [3, 4]
        issued = engine.registrar.issue(1, Pan(pan(40)), 3012, 1)
        assert issued.card_numbers.tolist() == [9]


def test_a_folder_is_opened_by_one_process(tmp_path: Path) -> None:
    """A second one is refused, and opens it once the first is gone."""
    with DiskEngine(tmp_path), pytest.raises(LedgerError):
        DiskEngine(tmp_path)
    with DiskEngine(tmp_path):
        pass


@pytest.mark.parametrize(
    ("bounds", "name"),
    [
        (Bounds(2, 64, 64, 256), "accounts_max"),
        (Bounds(64, 5, 64, 256), "cards_max"),
        (Bounds(64, 64, 4, 256), "merchants_max"),
    ],
)
def test_a_bound_below_what_the_folder_holds_is_named(
    tmp_path: Path, bounds: Bounds, name: str
) -> None:
    """A lower limit than the snapshot's tables is a configuration error, and frees the folder."""
    _use(tmp_path, snapshot=True)

    with pytest.raises(ConfigError, match=rf"limits\.{name}"):
        DiskEngine(tmp_path, bounds)

    with DiskEngine(tmp_path):
        pass


def test_the_fold_of_verify_is_the_state(tmp_path: Path) -> None:
    """What verification computes from the journal is the hash of the live state."""
    expected, _ = _use(tmp_path, snapshot=False)
    with DiskEngine(tmp_path) as engine:
        fold = StateFold(BOUNDS, engine.partition.hash_key)
    for batch in scan_running(tmp_path):
        fold(batch)

    assert fold.state_hash() == expected


def test_the_ring_of_a_configuration_takes_its_largest_batch() -> None:
    """However small limits.authorizations_max is, a batch of the configured size fits."""
    config = Config()
    for rows, most in ((1, 1), (4096, 1), (4096, 8_000_000), (100, 5000)):
        limits = config.limits.__class__(batch_max_frames=rows, authorizations_max=most)
        small = config.__class__(limits=limits)
        ring = bounds_of(small).authorizations_max
        assert ring >= most
        assert ring & (ring - 1) == 0
        assert batch_rows_max(ring) >= rows
