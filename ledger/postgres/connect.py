"""Connections to the primary that is in charge now.

A dsn may name several hosts. All of them are asked, and of those that take writes the one with the
highest timeline is taken: each promotion of a standby begins a new timeline, so a primary that was
replaced and has come back is never mistaken for its successor.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import asyncpg

from ledger.errors import StoreUnavailable
from ledger.postgres.dsn import hosts_of

_SERVER_SETTINGS = {"application_name": "de39", "synchronous_commit": "on", "jit": "off"}
_TIMELINE = "SELECT substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)"
# A backend that waits for a lock notices by this that its client has gone.
_NOTICE_GONE = "SET client_connection_check_interval = '2s'"
# A statement that was prepared and not run yet keeps its tables locked; this ends that.
END_PREPARE = "SELECT 1"
# What asyncpg and the socket raise when a server is away, going away or not ours to use.
CONNECT_ERRORS = (
    OSError,
    TimeoutError,
    EOFError,
    ValueError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # an error of the server came between two statements, and others
)


class Primary(NamedTuple):
    """A connection to the server that takes writes."""

    connection: Any  # asyncpg.Connection
    timeline: int  # 0 = the server has none
    host: tuple[str, int]

    @property
    def place(self) -> str:
        """Return host and port for messages."""
        return f"{self.host[0]}:{self.host[1]}"


async def connect(
    dsn: str, host: str, port: int, timeout_s: float, settings: Mapping[str, str] | None = None
) -> Any:
    """Connect to one of the servers of ``dsn``; raise what ``CONNECT_ERRORS`` lists."""
    return await asyncpg.connect(
        dsn,
        host=host,
        port=port,
        timeout=timeout_s,
        command_timeout=None,
        server_settings={**_SERVER_SETTINGS, **(settings or {})},
    )


async def connect_primary(
    dsn: str,
    timeout_s: float,
    *,
    least_timeline: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Primary:
    """Connect to the primary in charge.

    Parameters
    ----------
    dsn
        One or several hosts.
    timeout_s
        For each host; they are asked at the same time.
    least_timeline
        A primary of an older timeline is not in charge any more.
    settings
        Further settings of the session.

    Raises
    ------
    StoreUnavailable
        No host takes writes; one line with the reason of each, without secrets.
    """
    try:
        hosts = hosts_of(dsn)
    except ValueError as problem:
        raise StoreUnavailable(f"ledger.dsn: {problem}") from None
    tried = await asyncio.gather(
        *(_try(dsn, host, port, timeout_s, settings) for host, port in hosts)
    )
    found = [one for one in tried if isinstance(one, Primary)]
    best = max(found, key=lambda one: one.timeline, default=None)
    for other in found:
        if other is not best:
            other.connection.terminate()
    if best is None:
        reasons = "; ".join(one for one in tried if isinstance(one, str))
        raise StoreUnavailable(f"no PostgreSQL server takes writes: {reasons}")
    if best.timeline < least_timeline:
        best.connection.terminate()
        raise StoreUnavailable(
            f"{best.place} is a primary of timeline {best.timeline}, and timeline "
            f"{least_timeline} was seen: it was replaced"
        )
    return best


async def _try(
    dsn: str, host: str, port: int, timeout_s: float, settings: Mapping[str, str] | None
) -> Primary | str:
    """Return the host if it takes writes, else why not."""
    place = f"{host}:{port}"
    connection = None
    try:
        async with asyncio.timeout(timeout_s):
            connection = await connect(dsn, host, port, timeout_s, settings)
            if await connection.fetchval("SELECT pg_is_in_recovery()"):
                connection.terminate()
                return f"{place} is a standby"
            timeline = await _timeline(connection)
    except CONNECT_ERRORS as problem:
        if connection is not None:
            connection.terminate()
        return f"{place}: {reason_of(problem)}"
    return Primary(connection, timeline, (host, port))


async def _timeline(connection: Any) -> int:
    """Return the server's timeline, 0 where the engine is none that has any."""
    try:
        await connection.execute(_NOTICE_GONE)
        return int(await connection.fetchval(_TIMELINE), 16)
    except (asyncpg.UndefinedFunctionError, asyncpg.FeatureNotSupportedError):
        return 0


def reason_of(problem: BaseException) -> str:
    """Return what went wrong in one line, without a stack and without a dsn."""
    if isinstance(problem, TimeoutError):
        return "no answer in time"
    text = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return " ".join(str(text).split())
