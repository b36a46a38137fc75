"""The columns of one batch, from the bytes that came to the bytes that leave."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.card_checks import CHECK
from engine.items import ITEM, Setting, StandIn
from engine.replies import EXTRA_BYTES
from engine.rules.columns import RULE_FACTS, VALUE_COUNT
from engine.rules.program import VERDICT
from engine.terms import Terms
from engine.wire.columns import FIELD_COUNT, REPLY, REQUEST
from engine.wire.encode_kernels import REPLY_OVERHEAD_BYTES
from engine.wire.table import DialectTable
from ledger.record import SCORE_NONE
from scoring.features import EXTRAS, FEATURES, SHARED
from scoring.payment import PAYMENT


@dataclass(frozen=True, slots=True)
class Settings:
    """What an operator may choose about a decision."""

    hold_life_h: int = 7 * 24  # of every hold, unless there are terms
    terms: Terms | None = None  # lives and tolerances by merchant category
    duplicate_window_s: int = 24 * 3600
    clock_from_messages: bool = False
    pin_tries_max: int = 3
    stand_in_after_ms: int = 0
    stand_in: StandIn = StandIn.RULES
    floor_minor: int = 0
    scorer_lost: bool = False

    def fill(self, settings: NDArray[np.int64]) -> None:
        """Write them where kernels read them, i64[len(Setting)]."""
        settings[Setting.DUPLICATE_WINDOW_S] = self.duplicate_window_s
        settings[Setting.CLOCK_FROM_MESSAGES] = self.clock_from_messages
        settings[Setting.PIN_TRIES_MAX] = self.pin_tries_max
        settings[Setting.STAND_IN_AFTER_MS] = self.stand_in_after_ms
        settings[Setting.STAND_IN] = self.stand_in
        settings[Setting.FLOOR_MINOR] = self.floor_minor
        settings[Setting.SCORER_LOST] = self.scorer_lost


class Guard(Protocol):
    """Makes the cryptographic checks of a batch; ``engine.security.guard`` is the one there is."""

    def check(self, work: "Workspace", count: int, links: NDArray[np.void]) -> None:
        """Check the requests of a batch, decoded and admitted: fill ``work.checks``."""
        ...

    def dress(self, work: "Workspace", reply_count: int) -> None:
        """Add fields to the answers, and room for their MACs, before they are encoded."""
        ...

    def seal(self, work: "Workspace", reply_count: int) -> None:
        """Write the MACs of the encoded answers."""
        ...

    def has_macs(self, number: int) -> bool:
        """Whether links of a security profile have a key for authentication codes."""
        ...

    def mac_of(self, number: int, data: bytes, now_s: int) -> bytes:
        """Return the authentication code of what the host says by itself on such a link."""
        ...

    def note_pin_value(self, card: int, index: int, digits: str) -> None:
        """Take what proves the PIN of a card from now on: PVKI and PVV, or 0 and an offset."""
        ...

    def count_calls(self, counts: NDArray[np.int64]) -> None:
        """Add the calls of the security module, if there is one, to ``counts`` from now on."""
        ...

    def change(self, table: DialectTable) -> None:
        """Read fields by these dialects from the next batch on."""
        ...

    def close(self) -> None:
        """Forget the keys."""
        ...


class Workspace:
    """Columns of one batch, allocated once: ``rows`` requests, as many expiries, their answers."""

    def __init__(self, rows: int, arena_bytes: int) -> None:
        items = 2 * rows
        self.rows = rows
        self.arena = np.zeros(arena_bytes, np.uint8)
        self.request = np.zeros(rows, REQUEST)
        self.spans = np.zeros((rows, FIELD_COUNT, 2), np.uint16)
        self.pan_block = np.zeros((rows, 16), np.uint8)
        self.tokens = np.zeros((rows, 2), np.uint64)
        self.items = np.zeros(items, ITEM)
        self.checks = np.zeros(rows, CHECK)
        self.wave_table = np.zeros((1 << (4 * items - 1).bit_length(), 2), np.int64)
        self.payments = np.zeros(rows, PAYMENT)
        self.facts = np.zeros(rows, RULE_FACTS)
        self.arrivals = np.zeros(rows, np.int32)
        self.order = np.zeros(items, np.int32)
        self.wave_bounds = np.zeros(2 * items + 3, np.int32)
        self.shared = np.zeros((rows, len(SHARED)), np.float32)
        self.features = np.zeros((rows, len(FEATURES)), np.float32)
        self.extras = np.zeros((rows, len(EXTRAS)), np.float32)
        self.values = np.zeros((rows, VALUE_COUNT), np.float64)
        self.margins = np.zeros(rows, np.float32)
        self.scores = np.zeros(items, np.uint16)
        self.feature_checks = np.zeros(items, np.uint32)
        self.reasons = np.zeros(items, np.uint32)
        self.hits = np.zeros((items, 2), np.uint64)
        self.verdicts = np.zeros(items, VERDICT)
        self.deciding = np.zeros(items, np.int16)
        self.noted = np.zeros((3, items), np.int32)
        self.approved = np.zeros(rows, np.uint8)
        self.replies = np.zeros(rows, REPLY)
        self.extra = np.zeros(rows * EXTRA_BYTES, np.uint8)
        room = rows * (REPLY_OVERHEAD_BYTES + EXTRA_BYTES)
        self.out = np.zeros(arena_bytes + room, np.uint8)
        self.out_end = np.zeros(rows, np.int64)

    def reset(self, part: slice) -> None:
        """Blank what rules and scorer say of the items ``part``."""
        self.hits[part] = 0
        self.scores[part] = SCORE_NONE
        self.feature_checks[part] = 0
        self.reasons[part] = 0
        self.verdicts[part] = 0
