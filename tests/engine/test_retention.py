"""Old segments of a running engine go to its archive: by age, by size, and never unsigned."""

from pathlib import Path

import pytest

from engine import retention
from engine.retention import Retention
from ledger.disk import OsDisk
from ledger.recovery import SegmentFile
from ledger.segment import segment_indexes, segment_path
from tests.ledger.journals import read_all
from tests.ledger.test_archive import archivable, ledger, sign

_DAY_S = 86_400
_DAY_NS = _DAY_S * 10**9
_TS_NS = 1_700_000_000_000_000_000  # of every batch of the journal
_SEGMENT_BYTES = 16 * 1024


class _Case:
    """A journal of eight segments, of which three may go; notes are kept."""

    def __init__(self, folder: Path) -> None:
        self.data, self.target = folder / "data", folder / "old"
        self.store = ledger(self.data, 4)
        assert archivable(self.data, 2) == [1, 2, 3]
        self.notes: list[str] = []

    def retention(self, age_s: int = 0, bytes_max: int = 0) -> Retention:
        """Return one over the journal."""
        return Retention(
            self.data, self.target, age_s, bytes_max, _SEGMENT_BYTES, self.notes.append
        )

    def segments(self) -> list[int]:
        """Return the segments that are here."""
        return segment_indexes(OsDisk(), self.data)


@pytest.fixture
def case(tmp_path: Path) -> _Case:
    """Make a journal; its engine is running, so its store stays open."""
    return _Case(tmp_path)


def test_by_age(case: _Case) -> None:
    """Not on the day itself, but after it; the journal then begins later and goes on."""
    kept = case.retention(age_s=7 * _DAY_S)
    kept.look(_TS_NS + 7 * _DAY_NS)
    assert (kept.archived, case.segments()[0]) == (0, 1)
    assert not case.target.exists()
    kept.look(_TS_NS + 7 * _DAY_NS + 1)
    assert (kept.archived, kept.failures, case.segments()[0]) == (3, 0, 4)
    assert len(list(case.target.glob("*.seg.gz"))) == 3
    first = int(read_all(case.data)["seq"][0])
    assert read_all(case.data)["seq"].tolist() == list(range(first, case.store.position.seq))
    case.store.close()


@pytest.mark.parametrize(("segments", "gone"), [(8, 0), (7, 1), (6, 2), (5, 3), (1, 3)])
def test_by_size(case: _Case, segments: int, gone: int) -> None:
    """The oldest go until the others fit, never more than may go."""
    kept = case.retention(bytes_max=segments * _SEGMENT_BYTES)
    kept.look(_TS_NS)
    assert (kept.archived, case.segments()[0]) == (gone, gone + 1)
    kept.look(_TS_NS)
    assert kept.archived == gone
    case.store.close()


def test_what_no_checkpoint_covers_stays(case: _Case) -> None:
    """Proofs are made from the segments: those that are not signed yet are needed here."""
    kept = case.retention(age_s=_DAY_S)
    ends = {number: int(read_first(case, number + 1)) - 1 for number in (1, 2, 3)}
    sign(case.data, case.store.position, ends[2] - 1)
    kept.look(_TS_NS + 2 * _DAY_NS)
    assert (kept.archived, case.segments()[0]) == (1, 2)
    sign(case.data, case.store.position, ends[2])
    kept.look(_TS_NS + 2 * _DAY_NS)
    assert (kept.archived, case.segments()[0]) == (2, 3)
    case.store.close()


def read_first(case: _Case, number: int) -> int:
    """Return the number of the first batch of a segment."""
    segment = SegmentFile(OsDisk(), segment_path(case.data, number))
    segment.close()
    return segment.header.first_batch_no


def test_a_failure_is_told_and_tried_again(case: _Case) -> None:
    """A file where the archive should be: the segments stay, and go when it is away."""
    case.target.write_text("not a folder")
    kept = case.retention(age_s=_DAY_S)
    kept.look(_TS_NS + 2 * _DAY_NS)
    assert (kept.archived, kept.failures, case.segments()[0]) == (0, 1, 1)
    assert len(case.notes) == 1
    assert "old segments are not archived" in case.notes[0]
    case.target.unlink()
    kept.look(_TS_NS + 2 * _DAY_NS)
    assert (kept.archived, kept.failures) == (3, 1)
    case.store.close()


def test_the_thread_looks_and_ends(case: _Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, at the machine's time; closing ends it between two segments."""
    monkeypatch.setattr(retention, "EVERY_S", 0.001)
    kept = case.retention(age_s=_DAY_S)
    kept.start()
    while kept.archived < 3:
        kept._thread.join(0.01)
        assert kept._thread.is_alive()
    kept.close()
    assert not kept._thread.is_alive()
    assert case.segments()[0] == 4
    case.store.close()
