"""A history of one small ledger: messages, files, limits and time, to engine and oracle alike."""

from random import Random
from typing import Any

import numpy as np

from engine.replay import Replayer
from engine.wire.profile import Profile
from ledger.accounts import identity_gap_minor
from ledger.authorizations import Cursor, State
from ledger.lifecycle import Fin, Memo, Position
from ledger.record import Kind
from tests.oracle.clearing import Desk
from tests.oracle.core import Account, Card, Core
from tests.support.draws import Event, Traffic, message, reversal_of
from tests.support.filings import draw_item, post_items
from tests.support.small_engine import HASH_KEY, START_NS, TABLES, SmallEngine, pan
from tests.support.steps import record_of
from tests.support.streams import Message, Player

ACCOUNTS, CARDS_EACH, LIMIT = 3, 2, 50_000
TRAFFIC = Traffic(ACCOUNTS * CARDS_EACH, ACCOUNTS, stans=40, ids=True)
_STATES = {
    State.OPEN: "open", State.CLEARED: "cleared", State.EXPIRED: "expired",
    State.REVERSED: "reversed",
}  # fmt: skip
_NAMES = ("limit", "prepaid", "otb", "hold", "used", "over")
_MAY_RAISE_OVER = frozenset(
    {
        Kind.ADVICE, Kind.OVER_CAPTURE, Kind.FORCE_POST, Kind.PAYMENT_RETURNED, Kind.LIMIT,
    }
)  # fmt: skip


class History:
    """Takes steps; every one is checked against the oracle and the invariants I1 to I6."""

    def __init__(self, *, ring: int = 4096, profile: dict[Profile, int] | None = None) -> None:
        accounts = {n: Account(LIMIT, 840, otb=LIMIT) for n in range(1, ACCOUNTS + 1)}
        cards = {
            pan(c): Card((c - 1) // CARDS_EACH + 1, 3512)
            for c in range(1, ACCOUNTS * CARDS_EACH + 1)
        }
        self.core = Core(accounts, cards, hold_life_h=24, next_seq=1 + ACCOUNTS * (1 + CARDS_EACH))
        self.core.now_s = START_NS // 10**9
        self.desk = Desk(self.core)
        self.options: dict[str, Any] = {"plain": True, "ring": ring}
        self.engine = SmallEngine(ACCOUNTS, CARDS_EACH, LIMIT, **self.options)
        for place, value in (profile or {}).items():
            self.engine.authorizer.table.profile[:, place] = value
        self.core.profile = oracle_profile(profile or {})
        self.player = Player(self.engine, reads_fields=False)
        self.positions = {n: Position() for n in accounts}
        self.totals: dict[Memo | Fin, int] = dict.fromkeys([*Memo, *Fin], 0)
        self.now_ns = START_NS
        self.sent: list[Message] = []
        self.waiting: list[tuple[Message, str]] = []
        self.link = {"required": False, "signed_on": False}
        self._fold(self.engine.events)

    def close(self) -> None:
        """Give the table back as it was: it is shared."""
        self.engine.authorizer.table.profile[:] = self.engine.plain_profile

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.now_ns += seconds * 10**9

    def say(self, random: Random) -> None:
        """Draw a message; the oracle answers now, the engine with the next ``flush``."""
        drawn = message(random, TRAFFIC, self.sent[-12:], self.now_ns)
        self.tell(drawn)

    def undo(self, random: Random) -> None:
        """Draw the reversal of a payment that was captured, if there is one."""
        captured = [entry for entry in self.core.entries[-60:] if entry.taken]
        if captured:
            request = reversal_of(random, random.choice(captured).request, TRAFFIC)
            self.tell(Message(self.now_ns, 0, request))

    def tell(self, said: Message) -> None:
        """Send a message."""
        expected = self.core.step(said.request, said.ts_ns // 10**9, self.link)
        self.waiting.append((said, expected.decision))
        if "amount" in said.request:
            self.sent.append(said)

    def flush(self) -> None:
        """Play what was said as one batch, and check."""
        waiting, self.waiting = self.waiting, []
        if not waiting:
            return
        before = len(self.player.played.records)
        done = len(self.player.played.results)
        self.player.play([said for said, _ in waiting])
        got = [result.decision for result in self.player.played.results[done:]]
        assert got == [expected for _, expected in waiting]
        for records in self.player.played.records[before:]:
            self._fold(records)
        self.check()

    def file(self, random: Random, count: int) -> None:
        """Draw items of clearing and repayment, and post them one file after the messages."""
        self.flush()
        items, expected = [], []
        for _ in range(count):
            item, account = draw_item(random, self.core, self.desk, CARDS_EACH)
            items.append((item, account))
            expected.append(self.desk.post(item, account, self.now_ns // 10**9))
        got, records = post_items(self.engine, items, self.now_ns)
        assert got == expected, items
        self.player.played.records.append(records)
        self.player.rows += len(records)
        self._fold(records)
        self.check()
        self.compare_holds()

    def limit(self, account: int, limit_minor: int) -> None:
        """An operator moves a limit."""
        self.flush()
        self.core.accounts[account].move_limit(limit_minor)
        self.core.next_seq += 1
        record = record_of(Event("limit", account, limit_minor), self.now_ns)
        self.player.apply(record)
        self._fold(self.player.played.records[-1])
        self.check()

    def _fold(self, records: Any) -> None:
        """Expand records into postings: each book balances, only forced events overdraw."""
        for record in records:
            position = self.positions.get(int(record["account"]))
            if position is None:
                continue
            over_before = position.over_minor
            for debit, credit, amount in position.post(record):
                assert amount > 0
                assert type(debit) is type(credit)
                self.totals[debit] += amount
                self.totals[credit] -= amount
            if int(record["kind"]) not in _MAY_RAISE_OVER:
                assert position.over_minor <= over_before  # I5

    def check(self) -> None:
        """I1 to I4 and I6 on engine, oracle and books."""
        accounts, ring = self.engine.state.accounts, self.engine.state.ring
        assert not identity_gap_minor(accounts).any()
        is_open = ring["state"] == State.OPEN
        assert (ring["held_minor"][is_open] > 0).all()
        assert not ring["held_minor"][~is_open].any()
        assert not np.isin(ring["state"], (State.PENDING, State.CLOSING)).any()
        for number, oracle in self.core.accounts.items():
            row, book = accounts[number], self.positions[number]
            balances = tuple(int(row[f"{name}_minor"]) for name in _NAMES)
            assert oracle.book() == balances
            assert tuple(getattr(book, f"{name}_minor") for name in _NAMES) == balances
            assert oracle.otb >= 0 <= oracle.over
            assert oracle.otb * oracle.over == 0
            held = int(ring["held_minor"][is_open & (ring["account"] == number)].sum())
            assert oracle.hold == held
            assert book.purchases_minor + book.cash_minor == oracle.used
            assert min(book.purchases_minor, book.cash_minor, oracle.prepaid) >= 0
            assert oracle.used * oracle.prepaid == 0 or oracle.prepaid >= 0
        owed = self.totals[Fin.RCV_PURCH] + self.totals[Fin.RCV_CASH]
        assert owed == sum(account.used for account in self.core.accounts.values())
        assert -self.totals[Fin.CUST_CREDIT] == sum(a.prepaid for a in self.core.accounts.values())
        assert self.totals[Fin.UNALLOC] == 0
        assert sum(self.totals[account] for account in Fin) == 0
        assert sum(self.totals[account] for account in Memo) == 0
        assert self.engine.state.next_seq == self.core.next_seq

    def compare_holds(self) -> None:
        """Each authorization that was granted anything holds and has cleared what it should."""
        state = self.engine.state
        last = int(state.cursor[Cursor.HEAD])
        kept = np.arange(max(1, last + 1 - len(state.ring) // 2), last + 1)
        rows = state.ring[kept & (len(state.ring) - 1)]
        kinds = (Kind.AUTHORIZE, Kind.PARTIAL, Kind.ADVICE)
        rows = rows[np.isin(rows["kind"], kinds) & (rows["granted_minor"] > 0)]
        rows = rows[np.isin(rows["state"], list(_STATES))]
        names = ("seq", "state", "held_minor", "cleared_minor")
        found = {int(s): (_STATES[t], h, c) for s, t, h, c in rows[list(names)].tolist()}
        mine = {e.seq: (e.state, e.held, e.cleared) for e in self.core.entries if e.seq in found}
        assert found == mine

    def resend(self) -> None:
        """I7: everything said within the window is said again, and nothing moves."""
        self.flush()
        seq = self.engine.state.next_seq
        before = self.engine.state.accounts.tobytes()
        window = [m for m in self.sent[-20:] if self.now_ns - m.ts_ns < 20 * 3600 * 10**9]
        for said in window:
            self.tell(Message(self.now_ns, 0, said.request))
        del self.sent[len(self.sent) - len(window) :]
        records = len(self.player.played.records)
        self.flush()
        new = sum(len(r) for r in self.player.played.records[records:])
        expired = sum(
            int((r["kind"] == Kind.EXPIRE).sum()) for r in self.player.played.records[records:]
        )
        assert new == expired
        assert self.engine.state.next_seq == seq + expired
        assert expired or before == self.engine.state.accounts.tobytes()

    def end(self) -> None:
        """I8 and I9: holds end, used is what was posted, the records fold into the state."""
        self.flush()
        if not self.player.played.records:
            return
        self.wait(60 * 86_400)
        while self.engine.authorizer.holds_are_due(self.now_ns):
            records = self.engine.authorizer.expire(self.now_ns)
            self.player.played.records.append(records)
            self._fold(records)
        accounts = self.engine.state.accounts[1 : ACCOUNTS + 1]
        assert not accounts["hold_minor"].any()
        owed = accounts["used_minor"].astype(object) - accounts["prepaid_minor"].astype(object)
        net = [0] * ACCOUNTS
        for record in self.player.played.all_records():
            if record["result"] < 100 and record["account"]:
                net[int(record["account"]) - 1] += _posted(record)
        assert owed.tolist() == net
        again = SmallEngine(ACCOUNTS, CARDS_EACH, LIMIT, **self.options)
        played = self.player.played
        records = played.all_records()
        replayer = Replayer(again.state, TABLES, HASH_KEY, chunk=97)
        replayer.apply(records, played.originals, played.blobs)
        mine, theirs = self.engine.state.arrays(), again.state.arrays()
        for name, array in mine.items():
            assert array.tobytes() == theirs[name].tobytes(), name


_DEBITS = (
    Kind.CLEARING, Kind.CLEARING_PART, Kind.OVER_CAPTURE, Kind.FORCE_POST, Kind.FINANCIAL,
    Kind.PAYMENT_RETURNED,
)  # fmt: skip
_CREDITS = (Kind.REFUND, Kind.CLEARING_REVERSAL, Kind.REPAYMENT)


def _posted(record: Any) -> int:
    if record["kind"] in _DEBITS:
        return int(record["amount_minor"])
    return -int(record["amount_minor"]) if record["kind"] in _CREDITS else 0


def oracle_profile(profile: dict[Profile, int]) -> dict[str, Any]:
    """Return the profile as the oracle reads it."""
    return {
        "incremental": bool(profile.get(Profile.INCREMENTAL)),
        "partial_approval": "always" if profile.get(Profile.PARTIAL_APPROVAL) == 2 else "never",
        "captured_reversal": "refuse" if profile.get(Profile.CAPTURED_REVERSAL) else "refund",
        "reversal_amount": "de4" if profile.get(Profile.REVERSAL_AMOUNT) else "de95",
        "completion_keeps_rest": bool(profile.get(Profile.COMPLETION_KEEPS_REST)),
    }


def profiles(random: Random) -> dict[Profile, int]:
    """Draw a profile: each switch on or off."""
    return {
        Profile.INCREMENTAL: random.randint(0, 1),
        Profile.PARTIAL_APPROVAL: random.choice([0, 2]),
        Profile.CAPTURED_REVERSAL: random.randint(0, 1),
        Profile.REVERSAL_AMOUNT: random.randint(0, 1),
        Profile.COMPLETION_KEEPS_REST: random.randint(0, 1),
    }
