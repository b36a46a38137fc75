"""A message in another dialect says the same; what has no room there is named."""

import stat
from itertools import permutations
from pathlib import Path

import pytest

from bench.messages import PAN, authorization
from engine.message_commands import convert
from engine.wire.convert import convert_message
from engine.wire.dialect import BUILTIN_DIALECTS, load_builtin
from engine.wire.text import build_message, read_message

DIALECTS = [load_builtin(name) for name in BUILTIN_DIALECTS]
PAIRS = [(a, b) for a, b in permutations(DIALECTS, 2) if a.version == b.version]


@pytest.mark.parametrize(("source", "target"), PAIRS, ids=lambda d: d.name)
def test_there_and_back(source, target) -> None:
    """All values that have room go over; and back again they give the first message's."""
    mti, values = authorization(source)
    message = build_message(source, mti, values)
    written, lost = convert_message(source, target, message)
    assert set(lost) <= {48, 53, 55, 60, 61, 62, 63, 126, 127}
    kept = {n: v for n, v in values.items() if n not in lost}
    assert read_message(target, written) == (mti, kept)
    back, lost_again = convert_message(target, source, written)
    assert lost_again == []
    assert read_message(source, back) == (mti, kept)


def test_versions_do_not_mix() -> None:
    """A 0100 is not made a 1100: their fields mean other things."""
    with pytest.raises(ValueError, match="different versions"):
        convert_message(load_builtin("iso87-bin"), load_builtin("iso93-bin"), b"")


def test_the_command_writes_a_private_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The converted frame is in the file; nothing of the card is printed."""
    source, target = load_builtin("iso87-bin"), load_builtin("iso87-hex")
    out = tmp_path / "out.bin"
    message = build_message(source, *authorization(source))
    convert(message.hex(), target="iso87-hex", out=out)
    assert read_message(target, out.read_bytes()[2:]) == authorization(source)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    printed = capsys.readouterr()
    assert PAN not in printed.out + printed.err
