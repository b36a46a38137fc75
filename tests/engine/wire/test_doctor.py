"""The doctor knows each dialect by its bytes, and says what is wrong where."""

import pytest

from bench.messages import PAN, authorization
from engine.wire.columns import Fault
from engine.wire.dialect import BUILTIN_DIALECTS, load_builtin
from engine.wire.doctor import diagnose
from engine.wire.report import differences, finding_facts, findings_text, problems_of
from engine.wire.text import add_header, build_message

pytestmark = pytest.mark.kernels

DIALECTS = [load_builtin(name) for name in BUILTIN_DIALECTS]
EVERY = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda d: d.name)
# These write the sample alike: what tells them apart is a field that it lacks, or the framing.
ALIKE = {
    "postilion": "iso87-bin",
    "base24": "iso87-hex",
    "as2805": "iso87-bcd",
}


def family(name: str) -> str:
    """Return one name for the dialects that write the sample alike."""
    return ALIKE.get(name, name)


@EVERY
def test_frames_are_known_by_dialect_and_framing(dialect) -> None:
    """Three frames of a dialect: it, or one that writes the same bytes, comes first."""
    data = add_header(dialect, build_message(dialect, *authorization(dialect))) * 3
    best = diagnose(data, DIALECTS)[0]
    assert family(best.dialect.name) == family(dialect.name)
    assert (best.score, len(best.reads), problems_of(best)) == (100, 3, [])
    assert best.is_own


@EVERY
def test_a_bare_message_is_known_too(dialect) -> None:
    """Without a frame the framing is none."""
    best = diagnose(build_message(dialect, *authorization(dialect)), DIALECTS)[0]
    assert family(best.dialect.name) == family(dialect.name)
    assert (best.framing, best.score) == ("none", 100)


def test_another_framing_than_the_dialects_own_is_found() -> None:
    """A message of iso87-bin behind four digits of length is read, and that is said."""
    dialect = load_builtin("iso87-bin")
    message = build_message(dialect, *authorization(dialect))
    best = diagnose(b"%04d" % len(message) + message, DIALECTS)[0]
    assert (best.dialect.name, best.is_own) == ("iso87-bin", False)
    assert best.framing == "4 bytes ascii"


def test_a_fault_is_told_with_its_offset_in_the_bytes() -> None:
    """The second frame has a letter in DE4: message 2, DE4, where it stands."""
    dialect = load_builtin("iso87-bin")
    frame = add_header(dialect, build_message(dialect, *authorization(dialect)))
    at = frame.index(b"000000012345")
    bad = frame[: at + 3] + b"X" + frame[at + 4 :]
    best = diagnose(frame + bad, DIALECTS)[0]
    assert best.dialect.name == "iso87-bin"
    assert best.reads[1].fault == Fault.CHARSET
    (problem,) = problems_of(best)
    assert problem.startswith(f"message 2: DE4 at offset {len(frame) + at + 3}: a byte that")


def test_a_stream_that_breaks_off_says_where() -> None:
    """Half a frame at the end is no fault of the messages before it."""
    dialect = load_builtin("mc-cis")
    frame = add_header(dialect, build_message(dialect, *authorization(dialect)))
    best = diagnose(frame * 4 + frame[:40], DIALECTS)[0]
    assert (best.dialect.name, len(best.reads)) == ("mc-cis", 4)
    assert problems_of(best) == [f"at offset {4 * len(frame)}: the last frame is cut short"]


@EVERY
def test_no_card_number_is_shown_whole(dialect) -> None:
    """Whatever dialect is guessed, neither number nor track nor PIN block is in text or facts."""
    values = {**authorization(dialect)[1], 37: PAN[:12]}
    data = add_header(dialect, build_message(dialect, f"{dialect.version}100", values))
    for tried in (DIALECTS, [dialect], [d for d in DIALECTS if d is not dialect]):
        findings = diagnose(data, tried)
        told = findings_text(findings, data)
        told += str([finding_facts(f, data, with_fields=True) for f in findings])
        assert PAN not in told
        assert "0412ACDEF0123456" not in told


def test_bytes_of_no_dialect_are_told_as_such() -> None:
    """Noise gives no finding, or poor ones; nothing at all is refused."""
    findings = diagnose(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", DIALECTS)
    assert all(finding.score < 50 for finding in findings)
    assert "no shipped dialect" in findings_text([], b"x")
    with pytest.raises(ValueError, match="no bytes"):
        diagnose(b"", DIALECTS)


def test_differences_name_what_and_both_sides() -> None:
    """Two dialects are compared by framing, encoding, fields, parts and messages."""
    rows = differences(load_builtin("iso87-bin"), load_builtin("iso87-hex"))
    assert {"what": "encoding.bitmap", "a": "binary", "b": "hex"} in rows
    assert any(row["what"] == "DE52" for row in rows)
    assert differences(DIALECTS[0], DIALECTS[0]) == []
    assert any(r["what"] == "DE48 inside" for r in differences(DIALECTS[0], load_builtin("mc-cis")))
