"""SHELL: the thread that signs checkpoints beside a running engine, and writes its witness.

It reads what is durable already from the journal, wherever that is, and answers wait for nothing it
does. It rests four times as long as it works, so it takes a fifth of a core at most: under full
load checkpoints fall behind (``lag``) and catch up later. A lower priority would not do: whoever is
put aside while it holds the interpreter's lock puts everybody aside. A failure is told and counted;
the engine goes on, since proofs can be made again from the journal at any time.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.worker import Worker
from ledger.errors import LedgerError
from ledger.proof.log import ProofLog, load_signer, origin_of
from ledger.witness import witness_of, write_witness

_BATCHES_A_TURN = 32
_REST_SHARE = 4
_LAST_TURNS = 128


class Proving(Worker):
    """Follows one store.

    Parameters
    ----------
    data, store
        The data folder and its open store.
    interval_s
        Seconds between checkpoints.
    witness
        File, best on another disk, that gets the last acknowledged record each time; None = none.
    note
        Told of a failure, one line.
    """

    def __init__(
        self,
        data: Path,
        store: Any,
        interval_s: float,
        witness: Path | None,
        note: Callable[[str], None],
    ) -> None:
        super().__init__("proof")
        self._data = data
        self._store = store
        self._interval_s = interval_s
        self._witness = witness
        self._note = note
        self._log: ProofLog | None = None
        self._witnessed = 0
        self.failures = 0
        self.size = 0  # batches in the newest checkpoint

    @property
    def lag(self) -> int:
        """Return how many durable batches no checkpoint covers yet."""
        return max(0, int(self._store.position.batch_no) - 1 - self.size)

    def _run(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._turn(is_last=False)
        self._turn(is_last=True)
        self._let_go()

    def _let_go(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None

    def _turn(self, *, is_last: bool) -> None:
        try:
            self._sign(is_last=is_last)
            end = self._store.position
            if self._witness is not None and end.seq > max(1, self._witnessed):
                write_witness(self._witness, witness_of(self._store.writer.partition, end))
                self._witnessed = end.seq
        except LedgerError as error:
            self.failures += 1
            self._let_go()  # read again next time
            if self.failures == 1:
                self._note(f"proof: {error}")

    def _sign(self, *, is_last: bool) -> None:
        owner = self._store.writer
        if self._log is None:
            origin = origin_of(owner.cluster, owner.partition)
            self._log = ProofLog(self._data, load_signer(self._data, origin))
        end = self._store.position
        # A stop waits for what is nearly there; a long way behind, the next start goes on.
        turns = _LAST_TURNS
        started_s = time.monotonic()
        while self._log.advance(end, _BATCHES_A_TURN) and turns:
            turns -= is_last
            if not is_last and self._stop.wait(_REST_SHARE * (time.monotonic() - started_s)):
                break
            started_s = time.monotonic()
        if self._log.tiles.size:
            self._log.publish()
        self.size = self._log.size
