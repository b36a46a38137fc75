"""A conversation with the engine's core in any dialect: what is asked, and what is answered."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from bench.messages import authorization
from engine.wire.dialect import Dialect, Use
from engine.wire.table import compile_dialects
from engine.wire.text import add_header, build_message, read_message
from tests.support.small_engine import START_NS, SmallEngine, pan

Values = dict[int, str | bytes]
SECOND_NS = 10**9
_CARD, _EXPIRY = pan(1), "3512"


class Turn(NamedTuple):
    """One message of the network and what the host must say to it."""

    what: str
    frame: bytes
    mti: str
    code: str  # DE39 of 1987


@dataclass(frozen=True)
class Played:
    """Answers in order, and the ledger's decisions."""

    answers: list[bytes]
    decisions: list[int]
    held_minor: list[int]  # after each record


def turns(dialect: Dialect) -> Iterator[Turn]:
    """Sign-on, echo, a payment, its repeat, one that is too large, a reversal, and it again."""
    v = dialect.version
    network = f"{v}80{4 if v else 0}"
    answered = f"{v}81{4 if v else 0}"
    for what, code_1987, code_1993, stan in (
        ("sign-on", "001", "801", 1),
        ("echo", "301", "831", 2),
    ):
        values = _network(dialect, code_1993 if v else code_1987, stan)
        yield Turn(what, _frame(dialect, network, values), answered, "00")
    payment = _payment(dialect, 3, "000000001000")
    yield Turn("payment", _frame(dialect, f"{v}100", payment), f"{v}110", "00")
    yield Turn("its repeat", _frame(dialect, f"{v}101", payment), f"{v}110", "00")
    large = _payment(dialect, 4, "000009999999")
    yield Turn("more than is left", _frame(dialect, f"{v}100", large), f"{v}110", "51")
    reversal = _reversal(dialect, payment)
    yield Turn("reversal", _frame(dialect, f"{v}420", reversal), f"{v}430", "00")
    yield Turn("its repeat", _frame(dialect, f"{v}421", reversal), f"{v}430", "00")


def lifecycle_turns(dialect: Dialect) -> Iterator[Turn]:
    """Tied by DE62.2 alone: a payment, an increment, reversals of nothing, and of all of it."""
    payment = _payment(dialect, 3, "000000001000") | {62: _transaction("386200000000017")}
    yield Turn("payment", _frame(dialect, "0100", payment), "0110", "00")
    more = _payment(dialect, 4, "000000000500") | {62: payment[62]}
    yield Turn("increment", _frame(dialect, "0100", more), "0110", "00")
    for what, identifier, code in (
        ("reversal of another payment", "386200000000018", "25"),
        ("reversal", "386200000000017", "00"),
    ):
        stan = 5 + (code == "00")
        values = _reversal(dialect, _payment(dialect, stan, "000000001000"))
        del values[90]
        values[62] = _transaction(identifier)
        yield Turn(what, _frame(dialect, "0400", values), "0410", code)


def _transaction(identifier: str) -> bytes:
    """Return DE62 with element 2 alone: a bitmap of eight bytes, fifteen digits in eight."""
    return bytes.fromhex("4000000000000000" + f"{identifier:0>16}")


def play(dialect: Dialect, frames: list[bytes]) -> Played:
    """Put the frames to an engine that has one account with 500.00 and its card."""
    engine = SmallEngine(1, 1, plain=True)
    engine.authorizer.table = compile_dialects([dialect])
    answers, decisions, held_minor = [], [], []
    for k, frame in enumerate(frames):
        records, _, out = engine.play([(START_NS + k * SECOND_NS, frame)], [1])
        answers.append(out)
        decisions += records["result"].tolist()
        held_minor += records["hold_after_minor"].tolist()
    return Played(answers, decisions, held_minor)


def message_of(dialect: Dialect, frame: bytes) -> bytes:
    """Return the message inside a frame that has the dialect's usual envelope."""
    framing = dialect.framing
    head = framing.header_bytes + framing.reserved_bytes + framing.envelope_bytes
    return frame[head : len(frame) - len(framing.trailer) // 2]


def read(dialect: Dialect, frame: bytes) -> tuple[str, Values]:
    """Return the MTI and the values of an answer."""
    return read_message(dialect, message_of(dialect, frame))


def _frame(dialect: Dialect, mti: str, values: Values) -> bytes:
    return add_header(dialect, build_message(dialect, mti, values))


def _stan(dialect: Dialect, number: int) -> str:
    return f"{number:0{dialect.fields[dialect.field_of(Use.STAN)].limit}d}"


def _network(dialect: Dialect, code: str, stan: int) -> Values:
    _, values = authorization(dialect)
    kept = {n: values[n] for n in (7, 12, 41) if n in values}
    if dialect.version == 0:
        kept.pop(12, None)
    field = 24 if dialect.version else 70
    return {**kept, 11: _stan(dialect, stan), field: code}


def _payment(dialect: Dialect, stan: int, amount: str) -> Values:
    _, values = authorization(dialect)
    amounts = {Use.AMOUNT: amount, Use.AMOUNT_AND_CURRENCY: f"8402{amount}"}
    changed = {
        **amounts,
        Use.PAN: _CARD,
        Use.EXPIRY: _EXPIRY,
        Use.TRACK2: f"{_CARD}={_EXPIRY}201000012300000",
        Use.STAN: _stan(dialect, stan),
        Use.RRN: f"{stan:012d}",
    }
    by_number = {dialect.field_of(use): value for use, value in changed.items()}
    return {**values, **{n: value for n, value in by_number.items() if n}}


def _reversal(dialect: Dialect, payment: Values) -> Values:
    uses = (Use.PAN, Use.PCODE, Use.AMOUNT, Use.AMOUNT_AND_CURRENCY, Use.STAN, Use.ACQUIRER)
    uses += (Use.RRN, Use.TERMINAL, Use.CURRENCY, Use.LOCAL_MOMENT, Use.TRANSMITTED)
    kept = {n: payment[n] for n in map(dialect.field_of, uses) if n}
    acquirer = str(payment[32])
    if dialect.version == 0:
        original = f"0100{payment[11]}{payment[7]}{acquirer:0>11}{0:011d}"
        return {**kept, 90: original}
    prefix = f"{len(acquirer):02d}" if dialect.version == 1 else ""
    return {
        **kept,
        24: "400",
        56: f"{dialect.version}100{payment[11]}{payment[12]}{prefix}{acquirer}",
    }
