"""What the journal's store tells of itself: metrics, readiness, and what durable means with it."""

from engine.metrics import Counter, Gauge, Metrics
from ledger.stores.place import Store
from ledger.stores.postgres import PostgresStore


def note_store(store: Store, metrics: Metrics) -> None:
    """Bring the gauges and counts of the store up to date; of a file store nothing can be away."""
    metrics.gauges[Gauge.STORE_REACHABLE] = 1
    if isinstance(store, PostgresStore):
        stats = store.stats
        metrics.gauges[Gauge.STORE_REACHABLE] = stats.is_reachable
        metrics.gauges[Gauge.REPLICAS] = stats.replica_count
        metrics.counters[Counter.STORE_UNKNOWN] = stats.unknown_count
        metrics.counters[Counter.STORE_RETRIES] = stats.retry_count
        metrics.counters[Counter.STORE_CONNECTS] = stats.connect_count


def can_commit(store: Store) -> bool:
    """Whether a commit would get through now, as far as the last look tells."""
    if not isinstance(store, PostgresStore):
        return True
    return store.stats.is_reachable and store.stats.replica_count >= store.replica_count


def durability_of(store: Store) -> str:
    """Return what has happened before an answer leaves, for the log."""
    if not isinstance(store, PostgresStore):
        return "fdatasync per batch"
    if store.replica_count:
        return f"PostgreSQL commit per batch, with {store.replica_count} standbys"
    return "PostgreSQL commit per batch"


def trouble_of(store: Store) -> str:
    """Return the last thing the store could not do, for the line that says why the engine ends."""
    return store.stats.last_problem if isinstance(store, PostgresStore) else ""
