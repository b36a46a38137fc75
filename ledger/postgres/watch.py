"""How the database of the journal fares: counts of the store, and a look at it every second.

The look has a thread and a connection of its own, so it never waits behind a commit and no commit
waits for it.
"""

import asyncio
import threading
from dataclasses import dataclass

from ledger.errors import StoreUnavailable
from ledger.postgres.connect import CONNECT_ERRORS, Primary, connect_primary, reason_of
from ledger.postgres.settings import REPLICAS_SQL

_LOOK_S = 1.0
_PATIENCE_S = 3.0


@dataclass(slots=True)
class StoreStats:
    """What a store has met; each value is written by one thread and read by anyone."""

    unknown_count: int = 0  # commits whose outcome had to be asked for
    retry_count: int = 0  # batches that were sent again
    connect_count: int = 0
    ahead_count: int = 0  # batches sent while others were on their way
    place: str = ""  # host and port of the primary
    last_problem: str = ""
    replica_count: int = 0  # standbys that commits wait for and that keep up, at the last look
    is_reachable: bool = True  # at the last look


class Watch:
    """Looks at the database until ``close``; returns from the making after the first look."""

    def __init__(self, dsn: str, stats: StoreStats) -> None:
        self._dsn = dsn
        self._stats = stats
        self._primary: Primary | None = None
        self._stop = threading.Event()
        self._has_looked = threading.Event()
        self._thread = threading.Thread(target=self._run, name="postgres-watch", daemon=True)
        self._thread.start()
        self._has_looked.wait(_PATIENCE_S)

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join(2 * _PATIENCE_S)

    def _run(self) -> None:
        with asyncio.Runner() as runner:
            while not self._stop.is_set():
                runner.run(self._look())
                self._has_looked.set()
                self._stop.wait(_LOOK_S)
            runner.run(self._leave())

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                if self._primary is None:
                    self._primary = await connect_primary(self._dsn, _PATIENCE_S)
                self._stats.replica_count = await self._primary.connection.fetchval(REPLICAS_SQL)
                self._stats.is_reachable = True
        except (*CONNECT_ERRORS, StoreUnavailable) as problem:
            self._stats.is_reachable = False
            self._stats.last_problem = reason_of(problem)
            await self._leave()

    async def _leave(self) -> None:
        if self._primary is not None:
            self._primary.connection.terminate()
            self._primary = None
        await asyncio.sleep(0)
