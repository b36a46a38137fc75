"""By what the naive core finds messages of before: identity, lifecycle id, RRN, STAN."""

from dataclasses import dataclass, field
from typing import Any

from tests.oracle.core_values import (
    Account,
    Card,
    Entry,
    Request,
    identity,
    is_of_day,
    original_identity,
    rrn_key,
)


@dataclass
class Keys:
    """The dicts, and who may stand in them."""

    accounts: dict[int, Account]
    cards: dict[str, Card]
    profile: dict[str, Any] = field(init=False, default_factory=dict)
    by_identity: dict[tuple[Any, ...], Entry] = field(init=False, default_factory=dict)
    by_rrn: dict[tuple[Any, ...], Entry] = field(init=False, default_factory=dict)
    by_life: dict[int, Entry] = field(init=False, default_factory=dict)

    def take_keys(self, entry: Entry, request: Request, *, takes_place: bool = True) -> bool:
        """Let the newest authorization be found by lifecycle id and RRN.

        Return whether it was reversed before. Without ``takes_place`` only by what is free.
        """
        life, rrn, is_voided = request.get("lifecycle", 0), rrn_key(request), False
        if life and (takes_place or life not in self.by_life):
            stone = self.by_life.pop(life, None)
            self.by_life[life] = entry
            said = None if stone is None else self._known(stone.request)
            is_voided = said in (None, self._known(request)) and self._void(stone, request)
        if rrn is not None and (takes_place or rrn not in self.by_rrn):
            stone = self.by_rrn.pop(rrn, None)
            self.by_rrn[rrn] = entry
            is_voided = self._void(stone, request) or is_voided
        return is_voided

    def _void(self, stone: Entry | None, request: Request) -> bool:
        if stone is None or stone.kind != "tombstone":
            return False
        if stone.request["amount"] != request["amount"]:
            return False
        self.drop(stone)
        return True

    def plant_keys(self, stone: Entry, request: Request) -> None:
        """Let the tombstone of ``request`` be found, where nothing else is."""
        self.by_identity[original_identity(request)] = stone
        rrn = rrn_key(request)
        if rrn is not None and "rrn" in request:
            self.by_rrn.setdefault(rrn, stone)
        if request.get("lifecycle", 0):
            self.by_life.setdefault(request["lifecycle"], stone)

    def drop(self, stone: Entry) -> None:
        """One reversal voids one original: the tombstone is found no more."""
        indexes: tuple[dict[Any, Entry], ...] = (self.by_identity, self.by_rrn, self.by_life)
        for index in indexes:
            for key in [k for k, entry in index.items() if entry is stone]:
                del index[key]

    def find(self, request: Request, now_s: int) -> Entry | None:
        """The message that ``request`` names: by DE90 or its own STAN and DE7, by lifecycle id.

        Then by RRN, or by STAN and terminal of the same day.
        """
        if request["mti"] // 10 != 10 and original_identity(request) != identity(request):
            found = self.by_identity.get(original_identity(request))
            if found is not None:
                return found
        return self._by_life(request) or self._by_second_key(request, now_s)

    def amount_agrees(self, request: Request, found: Entry) -> bool:
        """Whether a reversal is of what was asked or approved, where its amount says so."""
        if self.profile.get("reversal_amount") == "de4":
            return True
        is_part = found.decision == "PARTIALLY_APPROVED"
        return request["amount"] in {found.request["amount"], found.amount if is_part else -1}

    def _known(self, request: Request) -> str | None:
        pan = request.get("pan")
        return pan if pan in self.cards else None

    def _by_life(self, request: Request) -> Entry | None:
        """The lifecycle id of another card, or of a reversal of another amount, names nothing."""
        found = self.by_life.get(request.get("lifecycle", 0))
        is_reversal = request["mti"] // 100 == 4
        if found is None or (is_reversal and not self.amount_agrees(request, found)):
            return None
        if is_reversal and "pan" not in request:
            return found
        held_by = found.pan if found.pan in self.cards else None
        return found if held_by == self._known(request) else None

    def _by_second_key(self, request: Request, now_s: int) -> Entry | None:
        """By RRN; a reversal with neither RRN nor DE90 by STAN and terminal, of the same day."""
        found = self.by_rrn.get(rrn_key(request) or ())
        if found is None or "rrn" in request:
            return found
        if request["mti"] // 100 != 4 or "original" in request:
            return None
        return found if is_of_day(request, now_s, found.t_s) else None
