"""The journal that a start is measured on is one that an engine could have written."""

from pathlib import Path

from bench.recovery import bounds_for, fold_journal, hash_journal, write_traffic
from ledger.verify import verify


def test_the_traffic_folds_and_counts(tmp_path: Path) -> None:
    """Every record is applied, check values agree, and the baseline reads as many bytes."""
    records, seconds = write_traffic(tmp_path, cards=50, payments=3_000)
    assert seconds > 0
    assert records >= 3_100
    assert fold_journal(tmp_path, bounds_for(50, 3_000)) == records
    facts = verify(tmp_path)
    assert (facts["records"], facts["ok"]) == (records, True)
    assert facts["approved"] > 1_000
    assert hash_journal(tmp_path, records) != hash_journal(tmp_path, records - 1)
