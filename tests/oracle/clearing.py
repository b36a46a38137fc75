"""Clearing and repayment as one would write them for one item at a time, over the naive core."""

from dataclasses import dataclass, field
from typing import Any

from tests.oracle.core import Core
from tests.oracle.core_values import Account, Entry, Taken, approval_code, root_of

TOLERANCE = {5411: 0.0, 6011: 0.0, 7995: 0.0, 5812: 0.2}
DAY_S = 86_400


@dataclass
class Posted:
    """An item that was posted."""

    kind: str
    account: int
    amount: int
    taken: Taken
    root: Entry | None = None  # of a clearing: the authorization it drew on
    freed: int = 0  # of a clearing: by how much the hold shrank

    @property
    def left(self) -> int:
        """What of it has not been given back."""
        return self.taken.left


@dataclass
class Desk:
    """Posts items; ``post`` returns what the engine calls the result."""

    core: Core
    items: dict[str, Posted] = field(default_factory=dict)

    def post(self, item: dict[str, Any], account: int | None, now_s: int) -> str:
        """Take one item: id, type, amount, currency, final; maybe what it is about."""
        core = self.core
        core.now_s = max(core.now_s, now_s)
        if account is None or account not in core.accounts:
            return "NO_ACCOUNT"
        known = self.items.get(item["id"])
        if known is not None:
            same = (known.kind, known.account, known.amount) == (
                item["type"], account, item["amount"],
            )  # fmt: skip
            return "DUPLICATE" if same else "ID_DIFFERS"
        if item["currency"] != core.accounts[account].currency:
            return "CURRENCY_DIFFERS"
        posted = Posted(item["type"], account, item["amount"], Taken(item["amount"]))
        result = self._post(item, posted)
        if result in ("NO_TARGET", "TARGET_DIFFERS", "MORE_THAN_TARGET"):
            return result
        self.items[item["id"]] = posted
        core.next_seq += 1
        return result

    def _post(self, item: dict[str, Any], posted: Posted) -> str:
        account, amount = posted.account, posted.amount
        book = self.core.accounts[account]
        if item["type"] == "clearing":
            posted.root = root = self._authorization(item, account)
            before = book.hold
            was = self.core.clear(root, book, posted.taken, is_final=item["final"])
            posted.freed = before - book.hold
            return {"within": "MATCHED", "over": "OVER_CAPTURED", "forced": "FORCED"}[was]
        if item["type"] == "repayment":
            book.give(amount)
            return "PAID"
        target = self.items.get(item.get("original_id", ""))
        wanted = "repayment" if item["type"] == "returned" else "clearing"
        if "original_id" in item:
            if target is None:
                return "NO_TARGET"
            if target.account != account or target.kind != wanted:
                return "TARGET_DIFFERS"
            if amount > target.left:
                return "MORE_THAN_TARGET"
            target.taken.left -= amount
            if item["type"] == "reversal":
                self._take_back(target, book, amount)
                return "REVERSED"
        if item["type"] == "returned":
            book.spend(amount)
            book.use(amount)
            return "RETURNED"
        book.give(amount)
        return "REFUNDED"

    def _take_back(self, target: Posted, book: Account, amount: int) -> None:
        """Event 14: what the clearing took last goes first, and the hold gets back what was its.

        Of 100 with 60 held, units 0 to 59 came from the hold. The rest that a final clearing let go
        is held again with the whole of it, if it has not been spent meanwhile.
        """
        root, from_hold = target.root, min(target.amount, target.freed)
        left = target.left
        again = max(min(left + amount, from_hold) - left, 0)
        if amount == target.amount:
            again += min(target.freed - from_hold, book.otb)
        book.give(amount)
        if root is None:
            return
        if root.state in ("open", "cleared") and root.deadline > self.core.now_s and again:
            book.force_hold(again)
            root.held += again
            root.state = "open"
        elif root.state == "cleared" and root.cleared == 0:
            root.state = "expired"

    def _authorization(self, item: dict[str, Any], account: int) -> Entry | None:
        """By record, lifecycle id, RRN, approval code: the first that is of this card."""
        core = self.core
        by_record = [e for e in core.entries if e.seq == item.get("authorization")]
        by_life = [core.by_life.get(item.get("lifecycle", 0))]
        by_rrn = [core.by_rrn.get(item.get("rrn_key", ()))]
        for found in [*by_record[:1], *by_life, *by_rrn]:
            root = self._usable(found, item, account)
            if root is not None:
                return root
        for found in core.entries:
            if approval_code(found.seq) != item.get("approval"):
                continue
            root = self._usable(found, item, account)
            if root is None:
                continue
            share = TOLERANCE[root.request.get("mcc", 5411)]
            fits = item["amount"] - root.granted <= int(root.granted * share)
            same = item.get("mcc", 0) in (0, root.request.get("mcc", 0))
            if fits and same and core.now_s - root.t_s <= 45 * DAY_S:
                return root
        return None

    def _usable(self, found: Entry | None, item: dict[str, Any], account: int) -> Entry | None:
        if found is None or found.kind == "tombstone":
            return None
        root = root_of(found)[1]
        same_card = "pan" not in item or root.pan == item["pan"]
        return root if root.is_authorization and same_card and root.account == account else None
