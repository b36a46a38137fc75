"""Which settings of PostgreSQL keep what is acknowledged, and which only help.

Checked when a journal is opened. Without ``fsync`` or full pages a power cut loses commits; a
commit that waits for fewer standbys than configured is lost with its primary.
"""

import re
from typing import NamedTuple

from ledger.errors import StoreSettingsError

_SQL = """
SELECT current_setting('server_version_num')::int AS version,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('synchronous_standby_names') AS standby_names,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('data_checksums', true) AS data_checksums
"""
FACTS_SQL = _SQL
# Standbys that a commit waits for and that keep up now; NULL where this role may not see it.
REPLICAS_SQL = """
SELECT count(*) FILTER (WHERE sync_state IN ('sync', 'quorum') AND state = 'streaming')::int
FROM pg_stat_replication
"""
_VERSION_MIN = 140_000
_SAFE_COMMITS = ("on", "remote_apply")
_METHOD = re.compile(r"^\s*(?:(?:ANY|FIRST)\s+)?(\d+)\s*\((.*)\)\s*$", re.IGNORECASE | re.DOTALL)


class Facts(NamedTuple):
    """Settings as the server has them for our session."""

    version: int
    synchronous_commit: str
    standby_names: str
    fsync: str
    full_page_writes: str
    data_checksums: str | None


def quorum_of(standby_names: str) -> int:
    """Return for how many standbys a commit waits by ``synchronous_standby_names``."""
    if not standby_names.strip():
        return 0
    method = _METHOD.match(standby_names)
    return int(method[1]) if method else 1


def faults_of(facts: Facts, replica_count: int) -> list[str]:
    """Return what would lose acknowledged records, one line each; empty = safe.

    Parameters
    ----------
    facts
        Of the session that writes.
    replica_count
        Standbys that must have a commit before it counts (``ledger.replica_count``).
    """
    found = []
    if facts.version < _VERSION_MIN:
        found.append(f"PostgreSQL {facts.version // 10_000} is too old: 14 or newer is needed")
    if facts.synchronous_commit not in _SAFE_COMMITS:
        found.append(
            f"synchronous_commit is {facts.synchronous_commit}, expected on or remote_apply"
        )
    found += [
        f"{name} is {value}, expected on"
        for name, value in (("fsync", facts.fsync), ("full_page_writes", facts.full_page_writes))
        if value != "on"
    ]
    quorum = quorum_of(facts.standby_names)
    if quorum < replica_count:
        found.append(
            f"synchronous_standby_names waits for {quorum} standbys, ledger.replica_count is "
            f"{replica_count}: expected ANY {replica_count} (...)"
        )
    return found


def require_safe(facts: Facts, replica_count: int) -> list[str]:
    """Return remarks on safe settings.

    Raises
    ------
    StoreSettingsError
        The settings are not safe.
    """
    faults = faults_of(facts, replica_count)
    if faults:
        raise StoreSettingsError(f"PostgreSQL would lose what it acknowledges: {'; '.join(faults)}")
    remarks = []
    if facts.data_checksums != "on":
        remarks.append("data checksums are off: PostgreSQL will not notice rot of its files")
    quorum = quorum_of(facts.standby_names)
    if quorum > replica_count:
        remarks.append(
            f"commits wait for {quorum} standbys, more than ledger.replica_count ({replica_count})"
        )
    return remarks
