"""Which settings are safe: a table, read from PostgreSQL's manual and not from the code."""

import pytest

from ledger.errors import StoreSettingsError
from ledger.postgres.settings import Facts, faults_of, quorum_of, require_safe

SAFE = Facts(180_006, "on", "ANY 2 (b, c, d)", "on", "on", "on")


@pytest.mark.parametrize(
    ("names", "quorum"),
    [
        ("", 0),
        ("   ", 0),
        ("b", 1),
        ("b, c", 1),
        ("*", 1),
        ("2 (b, c)", 2),
        ("FIRST 1 (b, c)", 1),
        ("first 3 (*)", 3),
        ("ANY 2 (b, c, d)", 2),
        ('any 1("node-1", c)', 1),
    ],
)
def test_quorum_of_standby_names(names: str, quorum: int) -> None:
    """How many standbys a commit waits for, in every form of the setting."""
    assert quorum_of(names) == quorum


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        (SAFE._replace(version=130_012), "too old"),
        (SAFE._replace(synchronous_commit="remote_write"), "remote_write, expected on"),
        (SAFE._replace(synchronous_commit="off"), "off, expected on"),
        (SAFE._replace(fsync="off"), "fsync is off"),
        (SAFE._replace(full_page_writes="off"), "full_page_writes is off"),
        (SAFE._replace(standby_names="b"), "waits for 1 standbys, ledger.replica_count is 2"),
    ],
)
def test_what_loses_commits_is_refused(facts: Facts, told: str) -> None:
    """Each setting alone stops the opening and is named with what would be right."""
    with pytest.raises(StoreSettingsError, match=told):
        require_safe(facts, 2)


def test_what_is_safe_passes() -> None:
    """Safe settings pass; weaker ones than could be are remarked on."""
    assert faults_of(SAFE, 2) == []
    assert require_safe(SAFE, 2) == []
    assert require_safe(SAFE._replace(synchronous_commit="remote_apply"), 2) == []
    [remark] = require_safe(SAFE._replace(data_checksums="off"), 2)
    assert "checksums" in remark
    [remark] = require_safe(SAFE, 0)
    assert "more than ledger.replica_count (0)" in remark
