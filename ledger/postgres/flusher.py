"""Waits for commits that did not wait: a commit of its own, durable only after all before it.

The write-ahead log is one line of bytes: when the record of a later commit is on disk and with the
standbys, everything before it is too. The row it writes is not the one that batches move on, so the
next batch goes on meanwhile.

The connection must be older than the commits it waits for. A server that crashed in between has
lost them and says nothing of it, but every connection to it is gone.
"""

import asyncio
from typing import Any

from ledger.postgres import journal_tables as tables
from ledger.postgres.connect import CONNECT_ERRORS, END_PREPARE, Primary, connect


class Flusher:
    """One connection to the server that batches go to; of one thread, but for ``close``.

    Parameters
    ----------
    dsn
        The database.
    patience_s
        For an answer, after which it is unknown.
    """

    def __init__(self, dsn: str, patience_s: float) -> None:
        self._dsn = dsn
        self._patience_s = patience_s
        self._runner = asyncio.Runner()
        self._server: Primary | None = None  # whose connection ours stands beside
        self._connection: Any = None
        self._statement: Any = None
        self._was_warned = False

    def stands_beside(self, primary: Primary) -> bool:
        """Whether there is a connection to that server's same life; asked from any thread."""
        return self._server is primary

    def stand_beside(self, primary: Primary) -> None:
        """Connect to the server of ``primary``, for commits that come after this."""
        if self._server is not primary:
            self._runner.run(self._connect(primary))

    def flush(self, primary: Primary, partition: int, seq: int) -> bool:
        """Return whether everything that ``primary`` committed before is durable; False = unknown.

        ``seq`` is the record that comes next; it is kept for the curious.
        """
        return self._server is primary and bool(self._runner.run(self._flush(partition, seq)))

    def close(self) -> None:
        """Close the connection; nothing is waited for."""
        self._runner.run(self._leave())
        self._runner.close()

    async def _flush(self, partition: int, seq: int) -> bool:
        self._was_warned = False
        is_done = False
        try:
            # Of a connection that is known to be lost, fetch raises before there is a task.
            task = asyncio.ensure_future(self._statement.fetch(partition, seq))
            done, _ = await asyncio.wait({task}, timeout=self._patience_s)
            if done:
                task.result()
                is_done = True
            else:
                self._connection.terminate()  # and the server is not asked to end its wait
                await asyncio.wait({task}, timeout=self._patience_s)
                task.cancel()
        except CONNECT_ERRORS:
            is_done = False
        if not is_done or self._was_warned:
            await self._leave()
            return False
        return True

    async def _connect(self, primary: Primary) -> None:
        await self._leave()
        host, port = primary.host
        try:
            self._connection = await connect(self._dsn, host, port, self._patience_s)
            self._connection.add_log_listener(self._on_message)
            self._statement = await self._connection.prepare(tables.FLUSH)
            await self._connection.execute(END_PREPARE)
        except CONNECT_ERRORS:
            await self._leave()
            return
        self._server = primary

    async def _leave(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._server = self._connection = self._statement = None
        await asyncio.sleep(0)

    def _on_message(self, _: object, message: Any) -> None:
        self._was_warned |= message.severity_en not in ("NOTICE", "INFO", "LOG", "DEBUG")
