"""A primary with two synchronous standbys, started from the wheel's programs (T10)."""

import re
from pathlib import Path

from tests.support.postgres import Server, dsn_of, until

_STANDBYS = ("b", "c")


class Trio:
    """Servers ``a`` (the primary), ``b`` and ``c``; a commit waits for one standby.

    Any one of the two may have it, so what is promoted must be the one that has more.
    """

    def __init__(self, place: Path) -> None:
        settings = {"wal_keep_size": "256MB", "hot_standby": "on"}
        self.a = Server(place / "a", settings).start()
        self.b = Server(place / "b", settings, copy_of=self.a).start()
        self.c = Server(place / "c", settings, copy_of=self.a).start()
        self.a.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (b, c)'")
        self.a.execute("SELECT pg_reload_conf()")
        until(lambda: self.streaming(self.a) == 2)

    @property
    def dsn(self) -> str:
        """Return a dsn with all three hosts, the first primary first."""
        return dsn_of(self.a, self.b, self.c)

    def streaming(self, primary: Server) -> int:
        """Return how many standbys keep up with ``primary`` and are waited for."""
        return int(
            primary.fetchval(
                "SELECT count(*) FROM pg_stat_replication "
                "WHERE state = 'streaming' AND sync_state = 'quorum'"
            )
        )

    def promote(self) -> Server:
        """Promote the standby that has more and let the other one follow it; return it."""
        received = {
            name: _bytes_of(server.fetchval("SELECT pg_last_wal_receive_lsn()::text"))
            for name, server in (("b", self.b), ("c", self.c))
        }
        new, other = (self.b, self.c) if received["b"] >= received["c"] else (self.c, self.b)
        new.promote()
        new.execute(f"ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 ({other.name})'")
        new.execute("SELECT pg_reload_conf()")
        source = re.sub(r"host=\S+", f"host={new.sockets}", other.settings["primary_conninfo"])
        # A setting of the command line cannot be changed while it runs: start it with the new one.
        other.stop()
        other.settings["primary_conninfo"] = source
        other.start()
        return new

    def stop(self) -> None:
        """End all three; a clean stop of the primary would wait for standbys that cannot."""
        for server in (self.a, self.b, self.c):
            server.kill()


def _bytes_of(lsn: str) -> int:
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)
