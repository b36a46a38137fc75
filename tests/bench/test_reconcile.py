"""Comparing a run with the ledger: each kind of disagreement is found."""

import numpy as np
import pytest

from bench.load_client import LoadRun, Plan, Source
from bench.load_result import LoadResult, code_number
from bench.reconcile import Reconciliation, reconcile, rrn_numbers
from bench.workload import Workload
from ledger.record import RECORD, Kind
from tests.oracle.host import Host, reply_to

_ORDERS = Workload(50, 2_000, 2, 1).orders()


@pytest.fixture(scope="module")
def result() -> LoadResult:
    """Run 40 payments, every eighth declined, numbered from 1000."""
    plan = Plan(in_flight=4, seconds=20, payments=40, first_number=1_000)

    def answers(n: int, request: dict[str, str]) -> list[dict[str, str]]:
        return [reply_to(request, "51" if int(request["37"]) % 8 == 0 else "00")]

    with Host(answers) as host:
        return LoadRun(host.address, Source(_ORDERS), plan).run()


@pytest.fixture
def records(result: LoadResult) -> np.ndarray:
    """Make the ledger that fits the run."""
    rows = np.zeros(40, dtype=RECORD)
    numbers = np.arange(1_000, 1_040)
    text = b"".join(b"%012d" % number for number in numbers)
    raw = np.frombuffer(text, np.uint8).reshape(-1, 12)
    rows["rrn_a"] = np.ascontiguousarray(raw[:, :8]).view("<u8").ravel()
    rows["rrn_b"] = np.ascontiguousarray(raw[:, 8:]).view("<u4").ravel()
    rows["kind"] = int(Kind.AUTHORIZE)
    rows["amount_minor"] = _ORDERS["amount_minor"][:40]
    declined, approved = code_number("51"), code_number("00")
    rows["response"] = np.where(numbers % 8 == 0, declined, approved)
    return rows


def _sizes(found: Reconciliation) -> tuple[int, ...]:
    parts = (found.missing, found.doubled, found.differing, found.contradicted, found.unseen)
    return tuple(part.size for part in parts)


def test_a_matching_ledger_is_ok(result: LoadResult, records: np.ndarray) -> None:
    """Each approval is found once; records of other runs and kinds are left aside."""
    others = records[:3].copy()
    others["rrn_a"] += 1
    opened = np.zeros(2, dtype=RECORD)
    found = reconcile(result, np.concatenate([records, others, opened]))
    assert (found.ok, found.seen, found.recorded, _sizes(found)) == (True, 35, 35, (0,) * 5)


def test_disagreements_are_named(result: LoadResult, records: np.ndarray) -> None:
    """Missing, doubled, differing and contradicted payments are listed by number."""
    wrong = records.copy()
    wrong["amount_minor"][1] += 1  # 1001
    wrong["response"][8] = code_number("00")  # 1008 was answered 51
    wrong = np.concatenate([np.delete(wrong, 2), wrong[3:4]])  # 1002 gone, 1003 twice
    found = reconcile(result, wrong)
    assert not found.ok
    assert found.missing.tolist() == [1002]
    assert found.doubled.tolist() == [1003]
    assert found.differing.tolist() == [1001]
    assert found.contradicted.tolist() == [1008]
    assert "1 missing, 1 doubled" in found.line()


def test_unanswered_approvals_are_no_fault(result: LoadResult, records: np.ndarray) -> None:
    """The ledger may know approvals whose answers never arrived."""
    cut = result._replace(slots=result.slots.copy())
    cut.slots["answered"][30:] = 0
    found = reconcile(cut, records)
    assert found.ok
    assert found.unseen.size == np.count_nonzero(np.arange(1_030, 1_040) % 8)


def test_a_reference_that_is_no_number_is_left_aside() -> None:
    """DE37 may be any characters; only twelve digits are a number of ours."""
    rows = np.zeros(2, dtype=RECORD)
    rows["rrn_a"] = int.from_bytes(b"ABC12345", "little")
    rows["rrn_b"][0] = int.from_bytes(b"0000", "little")
    assert rrn_numbers(rows).tolist() == [-1, -1]
