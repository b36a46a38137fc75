"""pytest-benchmark cases of the journal: ``pytest bench/bench_journal.py``."""

from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.commit_load import CommitLoad, bench_records
from bench.journal import BATCHES, count_records, write_journal
from ledger.journal import BatchEncoder, Position
from ledger.stores.file import open_file_store


@pytest.mark.parametrize("batch", BATCHES)
def test_commit(benchmark: BenchmarkFixture, tmp_path: Path, batch: int) -> None:
    """One job through the committer while another is being synced."""
    load = CommitLoad(open_file_store(tmp_path), batch)
    benchmark(load.commit_one)
    load.close()


@pytest.mark.parametrize("batch", BATCHES)
def test_encode(benchmark: BenchmarkFixture, tmp_path: Path, batch: int) -> None:
    """Bytes of one batch, hashes included, no disk."""
    store = open_file_store(tmp_path)
    encoder = BatchEncoder(store.writer)
    records = bench_records(batch)
    benchmark(encoder.encode, [(records, ())], Position(), 0)
    store.close()


@pytest.mark.parametrize("batch", [64, 1_024])
def test_recovery(benchmark: BenchmarkFixture, tmp_path: Path, batch: int) -> None:
    """Reading and checking 100,000 records."""
    write_journal(tmp_path, 100_000, batch)
    benchmark(count_records, tmp_path)
