"""The core as one would write it for one message at a time: dicts and Python integers, no arrays.

Rules and scorer are off. A request is a dict of decoded values: ``mti`` and, if sent, ``pan``,
``pcode``, ``amount``, ``currency``, ``billing_amount``, ``billing_currency``, ``transmitted``,
``stan``, ``acquirer``, ``forwarder``, ``terminal``, ``rrn``, ``expiry``, ``replacement``,
``original``, ``lifecycle`` and ``network_code``. Decisions are names; the code of each is spelled
out here again.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.oracle.core_keys import Keys
from tests.oracle.core_values import (
    HOUR_S,
    Account,
    Answer,
    Card,
    Entry,
    Request,
    Taken,
    answer_of,
    approval_code,
    declined_elsewhere,
    identity,
    luhn_holds,
    original_identity,
    root_of,
    shed_of,
)

__all__ = ["Account", "Answer", "Card", "Core"]


@dataclass
class Core(Keys):
    """The whole authorization core; ``step`` takes one message."""

    hold_life_h: int
    window_s: int = 24 * HOUR_S
    stand_in: tuple[int, str, int] = (0, "rules", 0)  # after ms (0 = never), what then, floor
    waited_ms: int = 0
    now_s: int = 0
    next_seq: int = 1
    entries: list[Entry] = field(default_factory=list)
    expired: list[Entry] = field(default_factory=list)
    names_whole: bool = False  # whether the reversal at hand is of the amount of what it names

    def step(self, request: Request, now_s: int, link: dict[str, Any]) -> Answer:
        """Answer one message of a link with ``required`` and ``signed_on``.

        ``waited_ms`` is how long this message has waited, against ``deadline_ms`` (with ``silent``)
        and ``overload_ms``; 0 or nothing = no bound.
        """
        self.now_s = max(self.now_s, now_s)
        mti = request["mti"]
        self.waited_ms = link.get("waited_ms", 0)
        if mti // 10 % 2 == 1:
            return Answer("")
        if mti // 10 in (80, 82) and mti % 10 < 6:
            return self._network(request, link)
        if mti // 10 not in (10, 12, 20, 22, 40, 42) or mti % 10 > 1:
            return answer_of("MESSAGE_NOT_SERVED")
        if link["required"] and not link["signed_on"]:
            return answer_of("NOT_SIGNED_ON")
        self._expire_one()
        first = self.by_identity.get(identity(request))
        is_voided = False
        if not self._is_known(first) and (shed := shed_of(mti, link)) is not None:
            return shed
        if first is not None:
            if first.kind == "tombstone":
                is_voided = True
                self.drop(first)
            elif self.now_s - first.t_s > self.window_s:
                del self.by_identity[identity(request)]
            else:
                return self._again(first, request)
        if mti // 100 == 4:
            return self._reverse(request)
        if mti // 10 == 12:
            return self._advise(request, is_voided)
        if mti // 10 == 22:
            return self._complete(request, is_voided)
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
        if code not in (1, 2, 201, 301):
            return answer_of("MESSAGE_NOT_SERVED")
        if code in (1, 2):
            link["signed_on"] = code == 1
        return answer_of("NETWORK_OK")

    def _expire_one(self) -> None:
        """Release the hold that ended first, if one has ended."""
        ended = [e for e in self.entries if e.state == "open" and e.deadline <= self.now_s]
        if not ended:
            return
        entry = min(ended, key=lambda e: e.deadline)  # the first entered of equals
        self.accounts[entry.account or 0].hold -= entry.held
        self.accounts[entry.account or 0].credit(entry.held)
        entry.held, entry.state = 0, "expired"
        self.expired.append(entry)
        self.next_seq += 1

    def _again(self, first: Entry, request: Request) -> Answer:
        same = all(
            first.request.get(name, 0) == request.get(name, 0) for name in ("pcode", "amount")
        )
        if first.kind != "reversal":
            same = same and first.currency == self._booked_currency(request)
            known = [p if p in self.cards else None for p in (first.pan, request.get("pan"))]
            same = same and known[0] == known[1]
        if not same:
            return answer_of("DUPLICATE_DIFFERS")
        answer = self._reply(first)
        answer.is_repeat = True
        return answer

    def _authorize(self, request: Request, is_voided: bool) -> Answer:
        pan = request.get("pan")
        card = self.cards.get(pan or "")
        root = self._about(request)[1] if self.profile.get("incremental") else None
        entry = self._enter("payment", request, None if card is None else card.account)
        can_add = root is not None and root.state == "open" and request["mti"] // 10 == 10
        if (
            can_add
            and self._first_look(request) == "APPROVED"
            and not self._is_record_only(request)
        ):
            entry.kind, entry.owner = "increment", root
        else:
            is_voided = self.take_keys(entry, request) or is_voided
        reason = "" if card is None else self._card_reason(card, request)
        asks = request["pcode"] // 10_000 in (20, 30, 31) and card is not None and not reason
        entry.is_check = request["amount"] == 0 or asks
        entry.decision, entry.amount = self._decide(request, is_voided)
        account = self.accounts.get(entry.account or 0)
        if entry.decision in ("APPROVED", "PARTIALLY_APPROVED"):
            assert account is not None
            self._book(entry, request, account)
        elif entry.decision == "INQUIRED":
            assert account is not None
            entry.granted = account.otb - account.over
        return self._reply(entry)

    def _book(self, entry: Entry, request: Request, account: Account) -> None:
        if request["mti"] // 100 == 2:
            entry.state, entry.taken = "cleared", [Taken(entry.amount)]
            entry.is_credit = request["pcode"] // 10_000 == 20
            if entry.is_credit:
                account.give(entry.amount)
            else:
                account.otb -= entry.amount
                account.use(entry.amount)
            return
        account.otb -= entry.amount
        account.hold += entry.amount
        holder = entry if entry.owner is None else entry.owner
        holder.held += entry.amount
        holder.granted += entry.amount
        entry.state = "open" if holder is entry else "added"

    def _advise(self, request: Request, is_voided: bool) -> Answer:
        """0120: authorized elsewhere."""
        account, amount = self._advised_account(request)
        _, root = self._about(request) if account is not None else (None, None)
        if declined_elsewhere(request):
            amount = 0
        entry = self._enter("advice", request, account)
        entry.amount = amount
        is_open = root is not None and root.state == "open"
        if root is not None and is_open:
            entry.owner = root
        elif root is not None:
            root.successor = entry
        if root is None:
            takes_place = account is not None
            is_voided = self.take_keys(entry, request, takes_place=takes_place) or is_voided
        entry.decision = "ADVICE_UNPOSTED"
        if account is None or is_voided:
            return self._reply(entry)
        entry.decision = "ADVICE_RECORDED"
        book = self.accounts[account]
        if root is not None and is_open:
            if amount >= root.held:
                book.force_hold(amount - root.held)
                root.granted += amount - root.held
            else:
                book.hold -= root.held - amount
                book.credit(root.held - amount)
            root.held = amount
            entry.state = "added"
            if amount == 0:
                root.state = "reversed"
        elif amount:
            book.force_hold(amount)
            entry.held, entry.granted, entry.state = amount, amount, "open"
        return self._reply(entry)

    def _complete(self, request: Request, is_voided: bool) -> Answer:
        """0220: cleared by message."""
        account, amount = self._advised_account(request)
        _, root = self._about(request) if account is not None else (None, None)
        entry = self._enter("completion", request, account)
        entry.amount, entry.owner = amount, root
        entry.decision = "ADVICE_UNPOSTED"
        if account is None or is_voided or declined_elsewhere(request):
            return self._reply(entry)
        entry.decision, entry.state = "ADVICE_RECORDED", "cleared"
        taken = Taken(amount)
        entry.taken = [taken]
        book = self.accounts[account]
        if request["pcode"] // 10_000 == 20:
            entry.is_credit = True
            book.give(amount)
            return self._reply(entry)
        keeps_rest = bool(self.profile.get("completion_keeps_rest"))
        self.clear(root, book, taken, is_final=not keeps_rest)
        return self._reply(entry)

    def clear(self, root: Entry | None, book: Account, taken: Taken, *, is_final: bool) -> str:
        """Events 9 to 12; return which one it was."""
        amount = taken.left
        held = root.held if root is not None and root.state == "open" else 0
        from_hold = min(held, amount)
        rest = held - from_hold if is_final or amount > held else 0
        was = "forced"
        if root is not None and root.state == "open":
            was = "over" if amount > held else "within"
        book.hold -= from_hold + rest
        book.credit(rest)
        book.spend(amount - from_hold)
        book.use(amount)
        if root is not None:
            root.held -= from_hold + rest
            root.taken.append(taken)
            if root.state == "expired" or (root.state == "open" and root.held == 0):
                root.state = "cleared"
        return was

    def _advised_account(self, request: Request) -> tuple[int | None, int]:
        """The account that an advice is posted to, and the amount in its currency."""
        card = self.cards.get(request.get("pan") or "")
        if card is None:
            return None, request["amount"]
        account = self.accounts[card.account]
        booked = self._booked_currency(request)
        is_billed = booked != request["currency"]
        amount = request["billing_amount"] if is_billed else request["amount"]
        return (card.account if booked == account.currency else None), amount

    def _is_record_only(self, request: Request) -> bool:
        pair = request["pcode"] // 10_000
        return request["amount"] == 0 or pair in (20, 30, 31)

    def _first_look(self, request: Request) -> str:
        """What card, account and kind of payment say, before anything that came before."""
        card = self.cards.get(request["pan"])
        if card is None:
            return "UNKNOWN_CARD" if luhn_holds(request["pan"]) else "BAD_CHECK_DIGIT"
        reason = self._card_reason(card, request)
        pair = request["pcode"] // 10_000
        if reason or pair in (30, 31) or request["amount"] == 0:
            return reason or "APPROVED"
        is_ours = self._booked_currency(request) == self.accounts[card.account].currency
        return "APPROVED" if is_ours else "CURRENCY_NOT_SERVED"

    def _decide(self, request: Request, is_voided: bool) -> tuple[str, int]:
        amount = request["amount"]
        card = self.cards.get(request["pan"])
        if card is not None and self._booked_currency(request) != request["currency"]:
            amount = request["billing_amount"]
        reason = self._first_look(request)
        if card is None or reason != "APPROVED":
            return reason, amount
        after_ms, then, floor = self.stand_in
        if 0 < after_ms < self.waited_ms and (
            then == "decline" or (then == "floor" and amount > floor)
        ):
            return "STAND_IN_DECLINED", amount
        if is_voided:
            return "VOIDED_BY_REVERSAL", amount
        pair = request["pcode"] // 10_000
        if pair in (30, 31):
            return "INQUIRED", amount
        if request["amount"] == 0:
            return "CHECKED", amount
        if pair == 20:
            return ("APPROVED" if request["mti"] // 100 == 2 else "NOTED"), amount
        otb = self.accounts[card.account].otb
        if amount <= otb:
            return "APPROVED", amount
        takes_part = self.profile.get("partial_approval") == "always" and pair == 0
        is_plain = amount == request["amount"]
        is_plain = is_plain and self._booked_currency(request) == request["currency"]
        is_increment = self.entries[-1].kind == "increment"  # the entry made for this request
        if takes_part and is_plain and otb > 0 and not is_increment:
            return "PARTIALLY_APPROVED", otb
        return "NOT_ENOUGH_FUNDS", amount

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
        if request["amount"] and request["pcode"] // 10_000 not in (0, 1, 9, 20, 30, 31):
            return "TRANSACTION_NOT_SERVED"
        return ""

    def _reverse(self, request: Request) -> Answer:
        named, root = self._about(request)
        entry = self._enter("reversal", request, None if root is None else root.account)
        if named is None or root is None:
            advice = request["mti"] // 10 % 10 == 2
            entry.decision = "REVERSAL_RECORDED" if advice else "ORIGINAL_NOT_FOUND"
            self._plant(entry, request)
            return self._reply(entry)
        book = self.accounts.get(root.account or 0)
        if named.state == "cleared" and book is not None:
            self._give_back_cleared(entry, request, named, book)
        elif root.state != "open" or book is None or (named is not root and named.state != "added"):
            entry.decision = "REVERSED_NOTHING"
        else:
            self._give_back(entry, request, named, root)
        return self._reply(entry)

    def _kept(self, request: Request, named: Entry) -> int:
        """What is to stay, in the account's currency: a share of what was billed in another."""
        keep = request.get("replacement") or 0
        asked = named.request["amount"]
        if self.profile.get("reversal_amount") == "de4":
            keep = 0 if self.names_whole or request["amount"] == asked else request["amount"]
        if named.decision == "PARTIALLY_APPROVED" or asked == 0:
            return keep
        return (2 * keep * named.amount + asked) // (2 * asked)

    def _give_back_cleared(
        self, entry: Entry, request: Request, named: Entry, book: Account
    ) -> None:
        left, keep = named.cleared, self._kept(request, named)
        if left == 0:
            entry.decision = "REVERSED_NOTHING"
        elif self.profile.get("captured_reversal", "refund") == "refuse":
            entry.decision = "ALREADY_CAPTURED"
        elif keep > max(named.amount, left):
            entry.decision = "AMOUNT_INVALID"
        elif keep >= left:
            entry.decision = "REVERSED_NOTHING"
        else:
            entry.decision, back = "CAPTURE_REFUNDED", left - keep
            if named.is_credit:
                book.spend(back)
                book.use(back)
            else:
                book.give(back)
            named.give_back(back)
            if named.cleared == 0:
                named.state = "reversed"

    def _give_back(self, entry: Entry, request: Request, named: Entry, root: Entry) -> None:
        part, most = root.held, root.granted
        if named.kind == "increment":
            part, most = min(named.amount, root.held), named.amount
        keep = self._kept(request, named)
        if keep > most:
            entry.decision = "AMOUNT_INVALID"
            return
        entry.decision = "REVERSED"
        released = max(part - keep, 0)
        book = self.accounts[root.account or 0]
        book.hold -= released
        book.credit(released)
        root.held -= released
        if released and named is not root:
            named.state = "reversed"
        if released and root.held == 0:
            root.state = "reversed"

    def _about(self, request: Request) -> tuple[Entry | None, Entry | None]:
        """The message that a reversal, advice, completion or increment names, and its root."""
        is_reversal = request["mti"] // 100 == 4
        found = self.find(request, self.now_s)
        if found is None or found.kind in ("reversal", "tombstone"):
            return None, None
        by_de4 = self.profile.get("reversal_amount") == "de4"
        theirs = {found.request["amount"]}
        if found.decision == "PARTIALLY_APPROVED":
            theirs.add(found.amount)
        self.names_whole = request["amount"] in theirs
        if is_reversal and not by_de4 and not self.names_whole:
            return None, None
        pan = request.get("pan")
        known = pan if pan in self.cards else None
        if is_reversal and pan is None:
            return root_of(found)
        held_by = found.pan if found.pan in self.cards else None
        if known != held_by or (known is None and not is_reversal):
            return None, None
        named, root = root_of(found)
        return (named, root) if is_reversal or root.is_authorization else (None, None)

    def _plant(self, entry: Entry, request: Request) -> None:
        """Remember that this original was reversed before it came."""
        key = original_identity(request)
        if key in self.by_identity:
            return
        stone = Entry("tombstone", entry.seq, None, None, 0, 0, dict(request), self.now_s)
        self.entries.append(stone)
        self.plant_keys(stone, request)

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
        answer = answer_of(entry.decision)
        if entry.decision in ("APPROVED", "PARTIALLY_APPROVED", "CHECKED", "NOTED"):
            answer.approval = approval_code(entry.seq)
        return answer
