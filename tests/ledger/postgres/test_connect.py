"""Which server of a dsn is in charge."""

import asyncio
from pathlib import Path

import pytest

from ledger.errors import StoreUnavailable
from ledger.postgres.connect import connect_primary
from ledger.postgres.dsn import hosts_of
from tests.support.postgres import Server, dsn_at


@pytest.mark.parametrize(
    ("dsn", "hosts"),
    [
        ("postgresql://u:p@db/x", [("db", 5432)]),
        ("postgres://u:p@a:1,b:2,c/x", [("a", 1), ("b", 2), ("c", 5432)]),
        ("postgresql://u@[::1]:77/x", [("::1", 77)]),
        ("postgresql:///x?host=/run/a,/run/b&port=7", [("/run/a", 7), ("/run/b", 7)]),
        ("postgresql://u:p@/x?host=%2Frun%2Fa&port=1", [("/run/a", 1)]),
        ("postgresql:///x?host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("postgresql:///x", [("localhost", 5432)]),
    ],
)
def test_hosts_of_a_dsn(dsn: str, hosts: list[tuple[str, int]]) -> None:
    """Every form in which hosts and ports can stand."""
    assert hosts_of(dsn) == hosts


@pytest.mark.parametrize(
    "dsn", ["", "host=a", "mysql://u:secret@a/x", "postgresql://u:secret@a:x/y"]
)
def test_what_is_no_dsn(dsn: str) -> None:
    """The error says what would be right and repeats no secret."""
    with pytest.raises(ValueError, match="expected") as caught:
        hosts_of(dsn)
    assert "secret" not in str(caught.value)


def test_a_primary_that_was_replaced_is_refused(postgres_server: Server, tmp_path: Path) -> None:
    """A server of an older timeline than was seen is not in charge; a dead host is passed."""
    dsn = dsn_at(tmp_path, postgres_server.sockets)

    async def look(least: int) -> int:
        primary = await connect_primary(dsn, 10.0, least_timeline=least)
        await primary.connection.close()
        return primary.timeline

    assert asyncio.run(look(1)) == 1
    with pytest.raises(StoreUnavailable, match="timeline 2 was seen"):
        asyncio.run(look(2))
