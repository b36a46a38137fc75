"""Verify and tail: counts, damage as a result, and following a journal as it grows."""

from pathlib import Path

import numpy as np
import pytest

from ledger.errors import NoJournalError, RotError
from ledger.journal import Batch
from ledger.record import Kind
from ledger.segment import segment_path
from ledger.snapshot import write_snapshot
from ledger.verify import tail, verify
from tests.ledger.journals import append, opened, records_from


class Counting:
    """A fold that counts records and finds a wrong check value when told to."""

    def __init__(self, wrong_at: int = 0) -> None:
        self.count = 0
        self.wrong_at = wrong_at

    def __call__(self, batch: Batch) -> None:
        """Count, and object where told to."""
        self.count += len(batch.records)
        if batch.header.batch_no == self.wrong_at:
            raise RotError("check value", batch_no=batch.header.batch_no, segment="x", offset=0)

    def state_hash(self) -> str:
        """Return the count in words."""
        return f"hash of {self.count}"


def journal(data: Path) -> str:
    """Write three batches: 4 authorizations, a reversal, a check; return the head."""
    store = opened(data)
    records = records_from(1, 6)
    records["kind"] = [Kind.AUTHORIZE, Kind.AUTHORIZE, Kind.PARTIAL, 1, Kind.REVERSAL, Kind.CHECK]
    records["result"] = [0, 301, 0, 201, 3, 2]
    records["flags"] = 0
    append(store, 2, records=records[:2].copy())
    append(store, 3, records=records[2:5].copy())
    append(store, 1, records=records[5:].copy())
    store.close()
    return store.position.head.hex()


def test_verify_counts_what_was_decided(tmp_path: Path) -> None:
    """Approved and declined count requests only; the fold gives the state hash."""
    head = journal(tmp_path)
    seen: list[int] = []
    assert verify(tmp_path, Counting(), on_progress=seen.append) == {
        "records": 6,
        "batches": 3,
        "approved": 3,
        "declined": 2,
        "head": head,
        "state_hash": "hash of 6",
        "ok": True,
        "error": None,
    }
    assert seen == [2, 5, 6]


def test_verify_reports_damage_with_the_counts_before_it(tmp_path: Path) -> None:
    """Damage is a result with ok false and one line that names the place."""
    journal(tmp_path)
    path = segment_path(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[8192 + 300] ^= 1
    path.write_bytes(content)
    found = verify(tmp_path, Counting())
    assert (found["ok"], found["records"], found["state_hash"]) == (False, 2, None)
    assert "batch 2" in found["error"]
    assert "\n" not in found["error"]


def test_verify_finds_a_wrong_state(tmp_path: Path) -> None:
    """A check value that does not come out is damage too."""
    journal(tmp_path)
    assert verify(tmp_path, Counting(wrong_at=3))["ok"] is False


def test_verify_finds_numbers_with_a_gap(tmp_path: Path) -> None:
    """Record numbers inside a batch must follow each other."""
    store = opened(tmp_path)
    records = records_from(1, 3)
    records["seq"][1] = 7
    append(store, 3, records=records)
    store.close()
    assert "gap" in verify(tmp_path)["error"]


def test_verify_finds_a_journal_shorter_than_its_snapshot(tmp_path: Path) -> None:
    """A cleanly cut tail is seen when a snapshot knows a later record."""
    journal(tmp_path)
    store = opened(tmp_path)
    write_snapshot(tmp_path, 6, store.position, {"a": np.arange(3)})
    store.close()
    assert verify(tmp_path)["ok"]
    path = segment_path(tmp_path, 1)
    content = bytearray(path.read_bytes())
    content[3 * 4096 : 4 * 4096] = bytes(4096)
    path.write_bytes(content)
    assert "snapshot knows record 6" in verify(tmp_path)["error"]


def test_verify_without_a_journal_raises(tmp_path: Path) -> None:
    """A wrong folder is not a damaged journal."""
    with pytest.raises(NoJournalError):
        verify(tmp_path)


def test_tail_gives_the_last_records_across_segments(tmp_path: Path) -> None:
    """The newest rows come in order, however many segments they lie in."""
    store = opened(tmp_path, segment_bytes=16 * 1024)
    for _ in range(10):
        append(store, 7)
    for count in (1, 7, 10, 50, 70, 100):
        seqs = [row["seq"] for row in tail(tmp_path, count)]
        assert seqs == list(range(max(1, 71 - count), 71))
    store.close()


def test_tail_follows_a_growing_journal(tmp_path: Path) -> None:
    """With follow, records that are appended meanwhile come too, each once."""
    store = opened(tmp_path, segment_bytes=16 * 1024)
    looks = iter([True, True, True, False])

    def wait() -> bool:
        append(store, 20)
        return next(looks)

    seqs = [row["seq"] for row in tail(tmp_path, 5, follow=True, wait=wait)]
    assert seqs == list(range(1, 61))
    store.close()
