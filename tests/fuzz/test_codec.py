"""A hundred thousand damaged streams through the codec, in all dialects, without a finding.

``DE39_FUZZ_RUNS=10000000`` runs longer; ``DE39_FUZZ_SEED`` begins elsewhere. A failure names the
seed of its batch, which is all that is needed to see it again.
"""

import os
from random import Random

import pytest

from engine.wire.dialect import BUILTIN_DIALECTS
from tests.fuzz.corpus_files import seeds
from tests.fuzz.judge import (
    decode,
    judge_answers,
    judge_cut,
    judge_like_oracle,
    judge_places,
)
from tests.fuzz.mutate import mutate

pytestmark = pytest.mark.kernels

RUNS = int(os.environ.get("DE39_FUZZ_RUNS", "100000"))
FIRST_SEED = int(os.environ.get("DE39_FUZZ_SEED", "0"))
_BATCH = 500
_ORACLE_ROWS = 4  # of a batch are read by the plain decoder too


def judge_batch(seed: int, starts: list[tuple[int, bytes]]) -> None:
    """Draw a batch of streams from a seed and judge it; one in eight batches is also cut."""
    random = Random(seed)
    others = [data for _, data in starts]
    links = []
    for _ in range(_BATCH):
        dialect, data = random.choice(starts)
        links.append((dialect, mutate(data, others, random)))
    decoded = decode(links)
    judge_places(links, decoded)
    judge_answers(decoded)
    if seed % 8 == 0:
        judge_cut(links, decoded, [random.randint(0, len(data)) for _, data in links])
    for _ in range(min(_ORACLE_ROWS, len(decoded.request))):
        judge_like_oracle(decoded, random.randrange(len(decoded.request)))


@pytest.mark.timeout(0)
def test_damaged_streams_never_break_the_codec() -> None:
    """Each batch is a seed; what fails is said by it."""
    starts = seeds()
    for seed in range(FIRST_SEED, FIRST_SEED + max(RUNS // _BATCH, 1)):
        try:
            judge_batch(seed, starts)
        except AssertionError as finding:
            raise AssertionError(f"DE39_FUZZ_SEED={seed}: {finding}") from finding


@pytest.mark.parametrize("name", BUILTIN_DIALECTS)
def test_a_link_fed_byte_by_byte_reads_the_same(name: str) -> None:
    """One byte at a time, what is cut short offered again: the rows of the whole."""
    number = BUILTIN_DIALECTS.index(name)
    stream = b"".join(data for dialect, data in seeds() if dialect == number)[:900]
    whole = decode([(number, stream)])
    waiting, rows = b"", 0
    for k in range(len(stream)):
        waiting += stream[k : k + 1]
        part = decode([(number, waiting)])
        taken = int(part.segments[0]["consumed"])
        for row in part.request:
            expected = whole.request[rows]
            assert all(row[n] == expected[n] for n in ("mti", "stan", "amount", "fault", "size"))
            rows += 1
        waiting = waiting[taken:]
    assert rows == len(whole.request) > 0
