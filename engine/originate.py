"""What the host asks by itself on a link, and the answers it waits for. No socket, no clock here.

One ``Exchanges`` belongs to one peer, over reconnects: an answer that comes after its time is still
known, so the approval of a request that was given up can be reversed.
"""

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from engine.messages import Mac, MessageCodec
from engine.metrics import Upstream

LATE_MAX = 4096  # exchanges given up that are still known; an answer after more is unmatched
OPEN_MAX = 4096
APPROVED = ("00", "10", "000", "0000")
_MESSAGE_CLASSES_OF_MONEY = (1, 2)


class Purpose(IntEnum):
    """Why the host says something."""

    ECHO = 0
    SIGN_ON = 1
    SIGN_OFF = 2
    MESSAGE = 3


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that came in: its type, the STAN of the question, and DE39 ("" = none)."""

    mti: int
    stan: int
    code: str


@dataclass(slots=True)
class Exchange:
    """A question and what becomes of it; ``done`` is called once, with None when time is over."""

    purpose: Purpose
    mti: str
    fields: Mapping[int, str]
    until_ns: int
    done: Callable[[Answered | None], None] = field(default=lambda _: None)

    @property
    def key(self) -> tuple[int, int]:
        """What its answer has: the type, without a repeat digit, and the STAN."""
        number = int(self.mti) % 1000
        return number + 10 - (number & 1), int(self.fields[11])

    @property
    def moves_money(self) -> bool:
        """Whether an approval of it must not stand when nobody waits for it any more."""
        return self.mti[2] == "0" and int(self.mti[1]) in _MESSAGE_CLASSES_OF_MONEY


class Numbers:
    """STANs of the host's own messages: 1 to 999,999, then from 1 again."""

    def __init__(self, seed: int) -> None:
        self._next = itertools.count(seed)

    def take(self) -> int:
        """Return the next one."""
        return next(self._next) % 999_999 + 1


class Exchanges:
    """Questions to one peer that wait for their answers.

    Parameters: ``numbers`` gives STANs, ``counts`` is i64[len(Upstream)], added to, ``reverse`` is
    called with an exchange whose approval came too late, ``mac`` makes the authentication code of
    each question where the link has a key for it. That of an answer is checked before it comes
    here.
    """

    def __init__(
        self,
        codec: MessageCodec,
        numbers: Numbers,
        counts: NDArray[np.int64],
        reverse: Callable[[Exchange], None] = lambda _: None,
        mac: Mac | None = None,
    ) -> None:
        self.codec = codec
        self.mac = mac
        self._numbers = numbers
        self._counts = counts
        self._reverse = reverse
        self._open: dict[tuple[int, int], Exchange] = {}
        self._late: OrderedDict[tuple[int, int], Exchange] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_room(self) -> bool:
        """Whether another question may be asked now."""
        return len(self._open) < OPEN_MAX

    def numbered(self, fields: Mapping[int, str], now_ns: int) -> dict[int, str]:
        """Return the fields with a STAN and a time of transmission of their own."""
        return {
            7: time.strftime("%m%d%H%M%S", time.gmtime(now_ns // 1_000_000_000)),
            11: f"{self._numbers.take():06d}",
            **fields,
        }

    def open(self, exchange: Exchange) -> bytes:
        """Wait for the answer; return the frame.

        ValueError names a field that cannot be; SecurityError says why there is no MAC.
        """
        mti, fields = exchange.mti, exchange.fields
        frame = (
            self.codec.frame(mti, fields)
            if self.mac is None
            else self.codec.sealed(mti, fields, self.mac)
        )
        self._open[exchange.key] = exchange
        self._counts[Upstream.SENT] += 1
        if int(exchange.mti) & 1:
            self._counts[Upstream.REPEATED] += 1
        return frame

    def network(self, code: str, purpose: Purpose, now_ns: int, until_ns: int) -> Exchange:
        """Return a 0800 with ``code`` in DE70."""
        return Exchange(purpose, "0800", self.numbered({70: code}, now_ns), until_ns)

    def take(self, answered: Answered) -> bool:
        """Give an answer to its question; False when there is none."""
        key = answered.mti % 1000, answered.stan
        exchange = self._open.pop(key, None)
        if exchange is not None:
            self._counts[Upstream.ANSWERED] += 1
            exchange.done(answered)
            return True
        late = self._late.pop(key, None)
        if late is None:
            self._counts[Upstream.UNMATCHED] += 1
            return False
        self._counts[Upstream.LATE] += 1
        if late.moves_money and answered.code in APPROVED:
            self._counts[Upstream.REVERSED] += 1
            self._reverse(late)
        return True

    def give_up(self, now_ns: int) -> list[Exchange]:
        """Return the exchanges whose time is over at ``now_ns``, told so."""
        return self._drop([e for e in self._open.values() if e.until_ns <= now_ns])

    def lose_all(self) -> list[Exchange]:
        """The link has gone: no question has an answer in time."""
        return self._drop(list(self._open.values()))

    def _drop(self, exchanges: list[Exchange]) -> list[Exchange]:
        for exchange in exchanges:
            del self._open[exchange.key]
            self._late[exchange.key] = exchange
            self._counts[Upstream.TIMED_OUT] += 1
            exchange.done(None)
        while len(self._late) > LATE_MAX:
            self._late.popitem(last=False)
        return exchanges


def reversal_of(exchange: Exchange) -> dict[int, str]:
    """Return the fields of the 0420 that takes back what ``exchange`` asked, without card data."""
    kept = (3, 4, 12, 13, 32, 33, 37, 41, 42, 49)
    fields = {n: v for n, v in exchange.fields.items() if n in kept}
    original = f"{exchange.mti[:3]}0{exchange.fields[11]}{exchange.fields[7]}"
    institutions = (exchange.fields.get(n, "").zfill(11) for n in (32, 33))
    return {**fields, 90: original + "".join(institutions)}
