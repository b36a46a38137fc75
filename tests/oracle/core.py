"""The core as one would write it for one message at a time: dicts and Python integers, no arrays.

Rules and scorer are off. A request is a dict of decoded values: ``mti`` and, if sent, ``pan``,
``pcode``, ``amount``, ``currency``, ``billing_amount``, ``billing_currency``, ``transmitted``,
``stan``, ``acquirer``, ``forwarder``, ``terminal``, ``rrn``, ``expiry``, ``replacement``,
``original`` and ``network_code``. Decisions are names; the code of each is spelled out here again.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

Request = dict[str, Any]

RESPONSE = {
    "APPROVED": "00", "CHECKED": "00", "REVERSED": "00", "REVERSED_NOTHING": "00",
    "REVERSAL_RECORDED": "00", "NETWORK_OK": "00", "UNKNOWN_CARD": "14", "BAD_CHECK_DIGIT": "14",
    "EXPIRED": "54", "EXPIRY_MISMATCH": "54", "CARD_BLOCKED": "62", "CARD_LOST": "41",
    "CARD_STOLEN": "43", "ACCOUNT_BLOCKED": "62", "NOT_ENOUGH_FUNDS": "51", "AMOUNT_INVALID": "13",
    "CURRENCY_NOT_SERVED": "57", "TRANSACTION_NOT_SERVED": "12", "DUPLICATE_DIFFERS": "94",
    "VOIDED_BY_REVERSAL": "12", "ORIGINAL_NOT_FOUND": "25", "NOT_SIGNED_ON": "91",
    "MESSAGE_NOT_SERVED": "12", "DEADLINE_PASSED": "91", "OVERLOADED": "91",
}  # fmt: skip
HOUR_S = 3600


@dataclass
class Account:
    """The memo book of one account."""

    limit: int
    currency: int
    status: str = "active"
    prepaid: int = 0
    otb: int = 0
    hold: int = 0
    used: int = 0
    over: int = 0

    def credit(self, amount: int) -> None:
        """Cr OTB, OVER first."""
        pays_over = min(amount, self.over)
        self.over -= pays_over
        self.otb += amount - pays_over

    def move_limit(self, limit: int) -> None:
        """Event 23."""
        change, self.limit = limit - self.limit, limit
        if change >= 0:
            self.credit(change)
        else:
            taken = min(-change, self.otb)
            self.otb -= taken
            self.over += -change - taken

    def book(self) -> tuple[int, ...]:
        """Return all balances, for comparison."""
        return self.limit, self.prepaid, self.otb, self.hold, self.used, self.over


@dataclass
class Card:
    """A card: its account, expiry as (year, month) and status."""

    account: int
    expiry: int
    status: str = "active"


@dataclass(eq=False)
class Entry:
    """What is remembered of one recorded message, or of an original that was reversed first."""

    kind: str  # payment, reversal or tombstone
    seq: int
    pan: str | None
    account: int | None
    amount: int  # in the account's currency where it is served
    currency: int  # in which it is booked
    request: Request
    t_s: int
    state: str = "closed"  # open while something is held
    held: int = 0
    deadline: int = 0
    decision: str = ""


@dataclass
class Answer:
    """What the host says; ``decision`` "" = nothing is sent. ``approval`` is DE38 or ""."""

    decision: str
    response: str = ""
    approval: str = ""
    is_repeat: bool = False


@dataclass
class Core:
    """The whole authorization core; ``step`` takes one message."""

    accounts: dict[int, Account]
    cards: dict[str, Card]
    hold_life_h: int
    window_s: int = 24 * HOUR_S
    now_s: int = 0
    next_seq: int = 1
    entries: list[Entry] = field(default_factory=list)
    by_identity: dict[tuple[Any, ...], Entry] = field(default_factory=dict)
    by_rrn: dict[tuple[Any, ...], Entry] = field(default_factory=dict)
    expired: list[Entry] = field(default_factory=list)

    def step(self, request: Request, now_s: int, link: dict[str, Any]) -> Answer:
        """Answer one message of a link with ``required`` and ``signed_on``.

        ``waited_ms`` is how long this message has waited, against ``deadline_ms`` (with ``silent``)
        and ``overload_ms``; 0 or nothing = no bound.
        """
        self.now_s = max(self.now_s, now_s)
        mti = request["mti"]
        if mti // 10 % 2 == 1:
            return Answer("")
        if mti in (800, 801):
            return self._network(request, link)
        if mti not in (100, 101, 400, 401, 420, 421):
            return _answer("MESSAGE_NOT_SERVED")
        if link["required"] and not link["signed_on"]:
            return _answer("NOT_SIGNED_ON")
        self._expire_one()
        first = self.by_identity.get(identity(request))
        is_voided = False
        if not self._is_known(first) and (shed := _shed(mti, link)) is not None:
            return shed
        if first is not None:
            if first.kind == "tombstone":
                is_voided = True
                self._drop(first)
            elif self.now_s - first.t_s > self.window_s:
                del self.by_identity[identity(request)]
            else:
                return self._again(first, request)
        if mti // 100 == 4:
            return self._reverse(request)
        return self._authorize(request, is_voided)

    def _is_known(self, first: Entry | None) -> bool:
        """Whether the first answer goes out again, whatever has become of link and clock."""
        return (
            first is not None
            and first.kind != "tombstone"
            and self.now_s - first.t_s <= self.window_s
        )

    def _network(self, request: Request, link: dict[str, Any]) -> Answer:
        code = request["network_code"]
        if code not in (1, 2, 301):
            return _answer("MESSAGE_NOT_SERVED")
        if code in (1, 2):
            link["signed_on"] = code == 1
        return _answer("NETWORK_OK")

    def _expire_one(self) -> None:
        """Release the hold that ended first, if one has ended."""
        ended = [e for e in self.entries if e.state == "open" and e.deadline <= self.now_s]
        if not ended:
            return
        entry = min(ended, key=lambda e: e.deadline)  # the first entered of equals
        self.accounts[entry.account or 0].hold -= entry.held
        self.accounts[entry.account or 0].credit(entry.held)
        entry.held, entry.state = 0, "closed"
        self.expired.append(entry)
        self.next_seq += 1

    def _again(self, first: Entry, request: Request) -> Answer:
        same = all(
            first.request.get(name, 0) == request.get(name, 0) for name in ("pcode", "amount")
        )
        same = same and first.currency == self._booked_currency(request)
        if first.kind == "payment":
            known = [p if p in self.cards else None for p in (first.pan, request.get("pan"))]
            same = same and known[0] == known[1]
        if not same:
            return _answer("DUPLICATE_DIFFERS")
        answer = self._reply(first)
        answer.is_repeat = True
        return answer

    def _authorize(self, request: Request, is_voided: bool) -> Answer:
        pan = request.get("pan")
        card = self.cards.get(pan or "")
        entry = self._enter("payment", request, None if card is None else card.account)
        key = rrn_key(request)
        if key is not None:
            older = self.by_rrn.pop(key, None)
            is_stone = older is not None and older.kind == "tombstone"
            if older is not None and is_stone and older.request["amount"] == request["amount"]:
                is_voided = True
                self._drop(older)
            self.by_rrn[key] = entry
        entry.decision, entry.amount = self._decide(request, is_voided)
        if entry.decision == "APPROVED":
            account = self.accounts[entry.account or 0]
            account.otb -= entry.amount
            account.hold += entry.amount
            entry.held, entry.state = entry.amount, "open"
        return self._reply(entry)

    def _decide(self, request: Request, is_voided: bool) -> tuple[str, int]:
        amount = request["amount"]
        pan = request["pan"]
        card = self.cards.get(pan)
        if card is None:
            return ("UNKNOWN_CARD" if luhn_holds(pan) else "BAD_CHECK_DIGIT"), amount
        account = self.accounts[card.account]
        if self._booked_currency(request) != request["currency"]:
            amount = request["billing_amount"]
        reason = self._card_reason(card, request)
        if reason:
            return reason, amount
        if amount and self._booked_currency(request) != account.currency:
            return "CURRENCY_NOT_SERVED", amount
        if is_voided:
            return "VOIDED_BY_REVERSAL", amount
        if request["amount"] == 0:
            return "CHECKED", amount
        return ("APPROVED" if amount <= account.otb else "NOT_ENOUGH_FUNDS"), amount

    def _booked_currency(self, request: Request) -> int:
        """DE49, or DE51 where the network has billed in the currency of the account (DE6)."""
        currency = request.get("currency", 0)
        card = self.cards.get(request.get("pan") or "")
        if request["mti"] // 100 == 4 or card is None or request["amount"] == 0:
            return currency
        billed = request.get("billing_currency")
        is_ours = billed == self.accounts[card.account].currency
        return billed if is_ours and request.get("billing_amount", 0) > 0 else currency

    def _card_reason(self, card: Card, request: Request) -> str:
        """Why card, account or kind of payment forbid it; "" = they do not."""
        today = datetime.fromtimestamp(self.now_s, UTC)
        expiry = request.get("expiry", 0)
        if card.status != "active":
            return f"CARD_{card.status.upper()}"
        if card.expiry < today.year % 100 * 100 + today.month:
            return "EXPIRED"
        if expiry and expiry != card.expiry:
            return "EXPIRY_MISMATCH"
        if self.accounts[card.account].status != "active":
            return "ACCOUNT_BLOCKED"
        if request["amount"] and request["pcode"] // 10_000 not in (0, 1, 9):
            return "TRANSACTION_NOT_SERVED"
        return ""

    def _reverse(self, request: Request) -> Answer:
        original = self._original(request)
        entry = self._enter("reversal", request, None if original is None else original.account)
        keep = request.get("replacement") or 0
        if original is None:
            advice = request["mti"] // 10 % 10 == 2
            entry.decision = "REVERSAL_RECORDED" if advice else "ORIGINAL_NOT_FOUND"
            self._plant(entry, request)
        elif original.state != "open":
            entry.decision = "REVERSED_NOTHING"
        elif keep > original.amount:
            entry.decision = "AMOUNT_INVALID"
        else:
            entry.decision = "REVERSED"
            released = max(original.held - keep, 0)
            self.accounts[original.account or 0].hold -= released
            self.accounts[original.account or 0].credit(released)
            original.held -= released
            if original.held == 0:
                original.state = "closed"
        return self._reply(entry)

    def _original(self, request: Request) -> Entry | None:
        found = self.by_identity.get(original_identity(request))
        if found is None:
            found = self.by_rrn.get(rrn_key(request) or ())
        if found is None or found.kind != "payment":
            return None
        if found.request["amount"] != request["amount"]:
            return None
        pan = request.get("pan")
        if pan in self.cards and pan != found.pan:
            return None
        return found

    def _plant(self, entry: Entry, request: Request) -> None:
        """Remember that this original was reversed before it came."""
        key = original_identity(request)
        if key in self.by_identity:
            return
        stone = Entry("tombstone", entry.seq, None, None, 0, 0, dict(request), self.now_s)
        self.entries.append(stone)
        self.by_identity[key] = stone
        rrn = rrn_key(request)
        if rrn is not None:
            self.by_rrn.setdefault(rrn, stone)

    def _drop(self, stone: Entry) -> None:
        """One reversal voids one original: the tombstone is found no more."""
        for index in (self.by_identity, self.by_rrn):
            for key in [k for k, entry in index.items() if entry is stone]:
                del index[key]

    def _enter(self, kind: str, request: Request, account: int | None) -> Entry:
        entry = Entry(
            kind,
            self.next_seq,
            request.get("pan"),
            account,
            request["amount"],
            self._booked_currency(request),
            dict(request),
            self.now_s,
            deadline=-(-(self.now_s + self.hold_life_h * HOUR_S) // 60) * 60,
        )
        self.next_seq += 1
        self.entries.append(entry)
        self.by_identity[identity(request)] = entry
        return entry

    def _reply(self, entry: Entry) -> Answer:
        answer = _answer(entry.decision)
        if entry.decision in ("APPROVED", "CHECKED"):
            answer.approval = approval_code(entry.seq)
        return answer


def _shed(mti: int, link: dict[str, Any]) -> Answer | None:
    """Requests for an authorization or a financial request wait only so long; others do."""
    if mti not in (100, 101, 200, 201):
        return None
    waited, deadline = link.get("waited_ms", 0), link.get("deadline_ms", 0)
    if deadline and waited > deadline:
        return Answer("") if link.get("silent") else _answer("DEADLINE_PASSED")
    overload = link.get("overload_ms", 0)
    return _answer("OVERLOADED") if overload and waited > overload else None


def _answer(decision: str) -> Answer:
    return Answer(decision, RESPONSE[decision])


def identity(request: Request) -> tuple[Any, ...]:
    """Who sent which class of message when: acquirer, forwarder, class and function, 7, 11, 41."""
    return _identity(
        request["mti"], request.get("acquirer", 0), request.get("forwarder", 0),
        request["transmitted"], request["stan"], request.get("terminal", ""),
    )  # fmt: skip


def original_identity(request: Request) -> tuple[Any, ...]:
    """The identity of the message that a reversal names: by DE90, else by its own STAN and DE7."""
    own = (request.get("acquirer", 0), request.get("forwarder", 0))
    terminal = request.get("terminal", "")
    named = request.get("original")
    if named is None:
        return _identity(100, *own, request["transmitted"], request["stan"], terminal)
    return _identity(
        named["mti"], named["acquirer"] or own[0], named["forwarder"] or own[1],
        named["transmitted"], named["stan"], terminal,
    )  # fmt: skip


def _identity(mti: int, *rest: Any) -> tuple[Any, ...]:
    return (mti // 10, *rest)


def rrn_key(request: Request) -> tuple[Any, ...] | None:
    """RRN, terminal and acquirer; None without an RRN."""
    if "rrn" not in request:
        return None
    return request["rrn"], request.get("terminal", ""), request.get("acquirer", 0)


def luhn_holds(pan: str) -> bool:
    """The check digit of ISO/IEC 7812-1."""
    digits = [int(c) for c in reversed(pan)]
    doubled = (2 * d if i % 2 else d for i, d in enumerate(digits))
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def approval_code(seq: int) -> str:
    """Six characters, base 36: a step coprime with 36^6 from one record to the next."""
    number = (seq * 1_586_752_429 + 604_661_760) % 36**6
    code = ""
    for _ in range(6):
        number, digit = divmod(number, 36)
        code = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[digit] + code
    return code
