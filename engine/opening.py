"""SHELL: opens what a switch needs of its machine: data folder, ports, token, keys, journal.

The cheap first, so that a start that must be refused is refused before anything is compiled.
"""

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from engine.admin.token import load_token
from engine.config import NONE, Config
from engine.partition import Note, Partition, bounds_of, choice_of, open_partition
from engine.ports import check_ports
from engine.security.opening import open_store
from engine.security.store import KeyStore
from ledger.stores.file import lock_folder


class Opened(NamedTuple):
    """What is open; ``close`` gives it back."""

    partition: Partition
    token: str
    keys: KeyStore | None  # None = the configuration has no store

    def close(self) -> None:
        """Forget the keys, close the partition."""
        if self.keys is not None:
            self.keys.close()
        self.partition.close()


def open_all(config: Config, env: Mapping[str, str], note: Note) -> Opened:
    """Take the folder, try the ports, read token and keys; then read the journal.

    Raises
    ------
    StorageInUse, UnavailableError, OperatingError, LedgerError, VaultError
        The first thing that cannot be had; nothing stays open.
    """
    data = Path(config.data)
    with ExitStack() as opened:
        lock = lock_folder(data)
        opened.callback(os.close, lock)
        check_ports(config)
        token = load_token(data, env)
        keys = None
        if config.security.store != NONE:
            keys = open_store(config.security, data, env)
            opened.callback(keys.close)
        partition = open_partition(
            data,
            bounds_of(config),
            choice=choice_of(config),
            witnesses=[Path(name) for name in config.ledger.witnesses],
            note=note,
            lock=lock,
        )
        opened.pop_all()  # all of it is the caller's now
    return Opened(partition, token, keys)
