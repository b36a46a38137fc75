"""Golden conversations: one a dialect, its bytes recorded, decoded and answered by the engine.

``DE39_GOLDEN=write`` records them anew; a change of a byte is then to be explained in review.
"""

import os
from pathlib import Path

import pytest

from engine.wire.dialect import BUILTIN_DIALECTS, Dialect, Use, load_builtin
from engine.wire.table import code_index, compile_dialects
from engine.wire.text import build_message, read_message
from tests.engine.wire.conversation import Turn, lifecycle_turns, message_of, play, read, turns

pytestmark = pytest.mark.kernels

FOLDER = Path(__file__).resolve().parents[2] / "golden" / "conversations"
_BY_LIFECYCLE_ID = "../visa-base1-lifecycle"
EVERY = pytest.mark.parametrize("name", BUILTIN_DIALECTS)


def recorded(name: str) -> tuple[list[bytes], list[bytes]]:
    """Return the frames asked and answered of a golden file: lines of > and <, then hex."""
    asked, answered = [], []
    for line in (FOLDER / f"{name}.hex").read_text(encoding="ascii").splitlines():
        text = line.partition("#")[0].strip()
        if text:
            into = asked if text[0] == ">" else answered
            into.append(bytes.fromhex(text[1:]))
    return asked, answered


def record(name: str, asked: list[Turn], answers: list[bytes]) -> None:
    """Write a golden file."""
    lines = [f"# {name}: > asked, < answered"]
    for turn, answer in zip(asked, answers, strict=True):
        lines += [f"# {turn.what}", f"> {turn.frame.hex()}", f"< {answer.hex()}"]
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / f"{name}.hex").write_text("\n".join(lines) + "\n", encoding="ascii")


def wire_code(dialect: Dialect, mti: str, code: str) -> str:
    """Return what stands in DE39 for a code of two characters."""
    if not dialect.action_codes:
        return code
    number = int(compile_dialects([dialect]).action_of[0, int(mti[1]), code_index(code)])
    return number.to_bytes(4, "little").rstrip(b"\0").decode()


@EVERY
def test_golden_conversation_is_answered_byte_for_byte(name: str) -> None:
    """Recorded requests give the recorded answers; the requests are still what is built today."""
    dialect = load_builtin(name)
    planned = list(turns(dialect))
    played = play(dialect, [turn.frame for turn in planned])
    if os.environ.get("DE39_GOLDEN") == "write":
        record(name, planned, played.answers)
    asked, answered = recorded(name)
    assert [turn.frame for turn in planned] == asked
    assert played.answers == answered


@EVERY
def test_the_answers_say_what_they_must(name: str) -> None:
    """Type, code, approval and echo of each recorded answer, read without the engine."""
    dialect = load_builtin(name)
    _, answered = recorded(name)
    planned = list(turns(dialect))
    for turn, answer in zip(planned, answered, strict=True):
        mti, values = read(dialect, answer)
        sent_mti, sent = read(dialect, turn.frame)
        assert mti == turn.mti
        assert values[39] == wire_code(dialect, mti, turn.code)
        rule = dialect.messages[int(sent_mti[1:])]
        assert set(values) - {38, 39} == set(rule.echo) & set(sent)
        assert all(values[n] == sent[n] for n in set(values) - {38, 39})
        assert (38 in values) == (mti[1:] == "110" and turn.code == "00")
    assert answered[2] == answered[3], "a repeat has another answer"


@EVERY
def test_behaviour_16_what_was_read_is_written_back(name: str) -> None:
    """encode(decode(x)) == x for every recorded message, in every dialect."""
    dialect = load_builtin(name)
    asked, answered = recorded(name)
    for frame in asked + answered:
        message = message_of(dialect, frame)
        assert build_message(dialect, *read_message(dialect, message)) == message


@EVERY
def test_the_ledger_holds_one_payment_and_its_reversal(name: str) -> None:
    """Repeats post nothing: three records, whatever the dialect."""
    dialect = load_builtin(name)
    asked, _ = recorded(name)
    played = play(dialect, asked)
    assert len(played.decisions) == 3
    assert dialect.field_of(Use.STAN) == 11


def test_a_payment_is_told_by_its_lifecycle_id_alone() -> None:
    """DE62.2, recorded: increment and reversal have nothing else in common with the payment."""
    dialect = load_builtin("visa-base1")
    planned = list(lifecycle_turns(dialect))
    played = play(dialect, [turn.frame for turn in planned])
    if os.environ.get("DE39_GOLDEN") == "write":
        record(_BY_LIFECYCLE_ID, planned, played.answers)
    asked, answered = recorded(_BY_LIFECYCLE_ID)
    assert [turn.frame for turn in planned] == asked
    assert played.answers == answered
    answers = [read(dialect, answer) for answer in answered]
    assert [(mti, values[39]) for mti, values in answers] == [(t.mti, t.code) for t in planned]
    assert played.held_minor == [1000, 1500, 0, 0]
