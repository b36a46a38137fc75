"""Card traffic drawn by seed: few cards, STANs and amounts, so that messages collide often.

Hypothesis draws a seed and a length, and a shorter stream of a seed is the beginning of a longer
one: as good mixtures as wanted, quickly, and a failure still shrinks to its shortest beginning.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.support.small_engine import START_NS, pan
from tests.support.streams import Message

AMOUNTS = (150, 3_000, 3_000, 20_000, 0, 1, 50_000, 50_001, 10**12 - 1)
MINUTES_AND_DAYS_S = (0,) * 12 + (1, 1, 7, 7, 60, 3_600, 3_600, 9 * 3_600, 25 * 3_600, 8 * 86_400)
_PCODES = (0,) * 8 + (10_000, 90_000, 200_000, 300_000, 310_000, 400_000)
SECONDS_S = (0, 0, 0, 1, 1, 7)
TRANSMITTED = 601_120_000  # 1 June, 12:00:00
BAD_CHECK_DIGIT = pan(1)[:-1] + str((int(pan(1)[-1]) + 1) % 10)
UNKNOWN_CARD = pan(60)
_PRESENT = (
    *("acquirer", "transmitted", "stan", "terminal", "amount", "rrn", "forwarder", "lifecycle"),
)


@dataclass(frozen=True)
class Event:
    """An operator's change: what, which account or card, and the new value."""

    kind: str  # limit, account or card
    number: int
    value: int


@dataclass(frozen=True)
class Traffic:
    """What a stream is drawn from."""

    cards: int
    accounts: int = 2
    stans: int = 5
    gaps_s: tuple[int, ...] = MINUTES_AND_DAYS_S
    events: bool = True
    merchants: int = 2
    links: int = 2
    ids: bool = False  # lifecycle ids in some messages
    advices: bool = True  # 0120 and 0220 among the messages, and 0200 among the payments


def streams(traffic: Traffic, most: int = 40) -> st.SearchStrategy[list[Any]]:
    """Lists of Message and Event in order of time."""
    return st.builds(
        lambda seed, length: stream(Random(seed), traffic, length),
        st.integers(0, 2**32 - 1),
        st.integers(1, most),
    )


def stream(random: Random, traffic: Traffic, length: int, start_ns: int = START_NS) -> list[Any]:
    """Draw ``length`` messages and events."""
    steps: list[Any] = []
    sent: list[Message] = []
    ts_ns = start_ns
    for _ in range(length):
        ts_ns += random.choice(traffic.gaps_s) * 10**9
        link = 1 if random.random() < 0.1 and traffic.links == 2 else 0
        if random.random() < 0.04 and traffic.events:
            steps.append(_event(random, traffic))
            continue
        message_ = replace(message(random, traffic, sent[-6:], ts_ns), link=link)
        steps.append(message_)
        if "amount" in message_.request:
            sent.append(message_)
    return steps


def message(random: Random, traffic: Traffic, sent: list[Message], ts_ns: int) -> Message:
    """Draw one message of link 0; most are about one of ``sent``."""
    kind = random.random()
    if kind < 0.06:
        request = _other(random)
    elif kind < 0.14 and sent and traffic.advices:
        request = _advice(random, random.choice(sent).request, traffic)
    elif kind < 0.55 or not sent:
        request = _payment(random, traffic)
    elif kind < 0.7:
        request = _repeat(random, random.choice(sent).request, traffic)
    else:
        request = reversal_of(random, random.choice(sent).request, traffic)
    return Message(ts_ns, 0, request)


def _event(random: Random, traffic: Traffic) -> Event:
    kind = random.choice(["limit", "limit", "account", "card"])
    if kind == "limit":
        limit = random.choice([0, 100, 25_000, 90_000, 90_000])
        return Event(kind, random.randint(1, traffic.accounts), limit)
    if kind == "account":
        return Event(kind, random.randint(1, traffic.accounts), random.choice([1, 1, 2]))
    return Event(kind, random.randint(1, traffic.cards), random.choice([1, 1, 1, 2, 3, 4]))


def _other(random: Random) -> dict[str, Any]:
    mti = random.choice([800, 800, 800, 800, 801, 810, 110, 600])
    request = {"mti": mti, "transmitted": TRANSMITTED, "stan": 9}
    if mti // 100 == 8:
        request["network_code"] = random.choice([1, 1, 1, 2, 301, 161])
    return request


def _payment(random: Random, traffic: Traffic) -> dict[str, Any]:
    card = random.randint(1, traffic.cards)
    name = random.choice([UNKNOWN_CARD, BAD_CHECK_DIGIT]) if random.random() < 0.06 else pan(card)
    request: dict[str, Any] = {
        "mti": random.choice([100, 100, 100, 101, 200] if traffic.advices else [100, 101]),
        "pan": name,
        "pcode": random.choice(_PCODES),
        "amount": random.choice(AMOUNTS),
        "transmitted": TRANSMITTED,
        "stan": random.randint(1, traffic.stans),
        "terminal": random.choice(["TERM0001", "TERM0001", "TERM0002"]),
        "acquirer": 42,
        "currency": 840,
        "entry_mode": random.choice([51, 71, 812, 901]),
        "mcc": random.choice([5411, 6011, 7995]),
        "merchant": f"MERCHANT{random.randint(1, traffic.merchants):07d}",
        "country": random.choice([840, 566]),
    }
    if random.random() < 0.6:
        request["rrn"] = f"{random.randint(1, traffic.stans):012d}"
    if traffic.ids and random.random() < 0.5:
        request["lifecycle"] = random.randint(0, traffic.stans)  # 0 = none
    odd = random.randint(0, 11)
    if odd == 0:
        request["expiry"] = random.choice([3512, 3411, 2001])
    elif odd == 1:
        request["currency"] = random.choice([978, 392])
        if random.random() < 0.7:
            request["billing_currency"] = random.choice([840, 840, 978])
            request["billing_amount"] = random.choice([0, 200, 200, 10**12 - 1])
    elif odd == 2:
        request["forwarder"] = 7
    elif odd == 3:
        request["transmitted"] = random.choice([602_120_000, 1_231_235_959])
    return request


def _advice(random: Random, said: dict[str, Any], traffic: Traffic) -> dict[str, Any]:
    """An advice or a completion of ``said``, of something near it, or of nothing known."""
    if "currency" not in said:
        return _payment(random, traffic)
    request = {name: value for name, value in said.items() if name != "original"}
    request["mti"] = random.choice([120, 120, 121, 220, 220, 220, 221])
    request["amount"] = random.choice([said["amount"], *AMOUNTS])
    request["stan"] = random.randint(1, traffic.stans)
    if random.random() < 0.5:
        request["original"] = _original(random, said)
    odd = random.randint(0, 9)
    if odd == 0:
        request["pan"] = random.choice([pan(random.randint(1, traffic.cards)), UNKNOWN_CARD])
    elif odd == 1:
        request.pop("rrn", None)
    elif odd == 2:
        request["pcode"] = 200_000
    elif odd == 3:
        request["currency"] = 978
    elif odd in (4, 5):
        request["told"] = random.choice(["00", "05", "10", "Y3", "Z3"])
    return request


def _original(random: Random, said: dict[str, Any]) -> dict[str, Any]:
    return {
        "mti": said["mti"],
        "stan": said["stan"],
        "transmitted": said["transmitted"],
        "acquirer": random.choice([0, 42]),
        "forwarder": said.get("forwarder", 0),
    }


def _repeat(random: Random, said: dict[str, Any], traffic: Traffic) -> dict[str, Any]:
    """A message as it was or with the repeat digit; now and then with one value changed."""
    request = dict(said)
    request["mti"] = request["mti"] // 10 * 10 + random.randint(0, 1)
    changed = random.randint(0, 11)
    if changed == 0:
        request["amount"] = random.choice(AMOUNTS)
    elif changed == 1 and "pan" in request:
        request["pan"] = pan(random.randint(1, traffic.cards))
    elif changed == 2 and "pcode" in request:
        request["pcode"] = 10_000
    elif changed == 3:
        request["forwarder"] = 8
    return request


def reversal_of(random: Random, said: dict[str, Any], traffic: Traffic) -> dict[str, Any]:
    """A reversal of ``said``, or of something near it; also of reversals, and of the unseen."""
    request = {name: said[name] for name in _PRESENT if name in said}
    request["mti"] = random.choice([400, 401, 420, 420, 421])
    if random.random() < 0.6:
        request["original"] = _original(random, said)
        request["stan"] = random.randint(1, traffic.stans)
    if random.random() < 0.5 and "pan" in said:
        request["pan"] = said["pan"]
    odd = random.randint(0, 17 if traffic.ids else 13)
    if odd == 0:
        request["amount"] = random.choice(AMOUNTS)
    elif odd == 1:
        request["pan"] = pan(random.randint(1, traffic.cards))
    elif odd == 2:
        request["stan"] = random.randint(1, traffic.stans)  # perhaps the one of a later payment
    elif odd == 3:
        request.pop("rrn", None)
    elif odd == 4:
        request["rrn"] = f"{random.randint(1, traffic.stans):012d}"
    elif odd in (5, 6):
        request["replacement"] = random.choice([0, 1, 100, 2_000, 60_000])
    elif odd in (14, 15):
        request["lifecycle"] = random.randint(0, traffic.stans)
    elif odd == 16:
        request.pop("lifecycle", None)
    return request
