"""What the naive core keeps of accounts, cards and messages, and how messages are told apart."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

Request = dict[str, Any]

RESPONSE = {
    "APPROVED": "00", "CHECKED": "00", "REVERSED": "00", "REVERSED_NOTHING": "00",
    "REVERSAL_RECORDED": "00", "NOTED": "00", "INQUIRED": "00", "ADVICE_RECORDED": "00",
    "ADVICE_UNPOSTED": "00", "CAPTURE_REFUNDED": "00", "PARTIALLY_APPROVED": "10",
    "ALREADY_CAPTURED": "12", "NETWORK_OK": "00", "UNKNOWN_CARD": "14",
    "BAD_CHECK_DIGIT": "14",
    "EXPIRED": "54", "EXPIRY_MISMATCH": "54", "CARD_BLOCKED": "62", "CARD_LOST": "41",
    "CARD_STOLEN": "43", "ACCOUNT_BLOCKED": "62", "NOT_ENOUGH_FUNDS": "51", "AMOUNT_INVALID": "13",
    "CURRENCY_NOT_SERVED": "57", "TRANSACTION_NOT_SERVED": "12", "DUPLICATE_DIFFERS": "94",
    "VOIDED_BY_REVERSAL": "12", "ORIGINAL_NOT_FOUND": "25", "NOT_SIGNED_ON": "91",
    "MESSAGE_NOT_SERVED": "12", "DEADLINE_PASSED": "91", "OVERLOADED": "91",
    "STAND_IN_DECLINED": "91",
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

    def spend(self, amount: int) -> None:
        """Dr OTB down to zero, the rest OVER."""
        taken = min(amount, self.otb)
        self.otb -= taken
        self.over += amount - taken

    def force_hold(self, amount: int) -> None:
        """Hold what cannot be declined."""
        self.spend(amount)
        self.hold += amount

    def use(self, amount: int) -> None:
        """Cr USED; the customer's own money pays first."""
        own = min(amount, self.prepaid)
        self.used += amount - own
        self.prepaid -= own

    def give(self, amount: int) -> None:
        """A refund or repayment: pays what is used, the rest is the customer's own money."""
        paid = min(amount, self.used)
        self.used -= paid
        self.prepaid += amount - paid
        self.credit(amount)

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
class Taken:
    """What one clearing or captured payment took and has not given back yet."""

    left: int


@dataclass(eq=False)
class Entry:
    """What is remembered of one recorded message, or of an original that was reversed first."""

    kind: str  # payment, increment, advice, completion, reversal or tombstone
    seq: int
    pan: str | None
    account: int | None
    amount: int  # in the account's currency where it is served
    currency: int  # in which it is booked
    request: Request
    t_s: int
    state: str = "closed"  # pending, open, reversed, expired, cleared, added or closed
    held: int = 0
    granted: int = 0
    deadline: int = 0
    decision: str = ""
    owner: "Entry | None" = None  # the authorization that an increment, advice, completion is of
    successor: "Entry | None" = None  # the advice that took the place of a declined payment
    is_credit: bool = False
    is_check: bool = False  # moves nothing whatever is decided: nothing can clear it
    taken: list[Taken] = field(default_factory=list)  # in order; a completion's is its root's too

    @property
    def cleared(self) -> int:
        """What was taken and can still be given back."""
        return sum(taken.left for taken in self.taken)

    def give_back(self, amount: int) -> None:
        """Take ``amount`` off what was taken: the newest goes first."""
        for taken in reversed(self.taken):
            part = min(amount, taken.left)
            taken.left -= part
            amount -= part

    @property
    def is_authorization(self) -> bool:
        """Whether it holds, or was to hold, by itself."""
        if self.kind == "advice":
            return self.account is not None
        return self.kind == "payment" and self.request["mti"] // 100 == 1 and not self.is_check


@dataclass
class Answer:
    """What the host says; ``decision`` "" = nothing is sent. ``approval`` is DE38 or ""."""

    decision: str
    response: str = ""
    approval: str = ""
    is_repeat: bool = False


def root_of(entry: Entry) -> tuple[Entry, Entry]:
    """Return the message meant by ``entry`` and the authorization that one belongs to."""
    while entry.owner is None and entry.successor is not None:
        entry = entry.successor
    return entry, entry if entry.owner is None else entry.owner


def answer_of(decision: str) -> Answer:
    """Return the answer with the code that stands for ``decision``."""
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
    """RRN, terminal and acquirer; without an RRN STAN, terminal and acquirer; else None."""
    if "rrn" not in request:
        terminal = request.get("terminal", "")
        return ("", request["stan"], terminal, request.get("acquirer", 0)) if terminal else None
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


def shed_of(mti: int, link: dict[str, Any]) -> Answer | None:
    """Requests for an authorization or a financial request wait only so long; others do."""
    if mti not in (100, 101, 200, 201):
        return None
    waited, deadline = link.get("waited_ms", 0), link.get("deadline_ms", 0)
    if deadline and waited > deadline:
        return Answer("") if link.get("silent") else answer_of("DEADLINE_PASSED")
    overload = link.get("overload_ms", 0)
    return answer_of("OVERLOADED") if overload and waited > overload else None


def declined_elsewhere(request: Request) -> bool:
    """Whether DE39 of an advice says that what it reports was declined."""
    return request.get("told", "00") not in ("00", "08", "10", "11", "16", "85", "Y1", "Y2", "Y3")


def is_of_day(request: Request, now_s: int, then_s: int) -> bool:
    """Whether DE13 names a day next to ``then_s`` or the same; without one, within a day."""
    if "local_date" not in request:
        return now_s - then_s <= 86_400
    today = datetime.fromtimestamp(now_s, UTC).date()
    month, day = divmod(request["local_date"], 100)
    named = [
        date(year, month, 1) + timedelta(days=day - 1)
        for year in (today.year - 1, today.year, today.year + 1)
    ]
    nearest = min(named, key=lambda d: abs((d - today).days))
    return abs((nearest - datetime.fromtimestamp(then_s, UTC).date()).days) <= 1
