"""Log lines are structured, bounded, and never hold a card number."""

import io
import json
import re
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.observe import FIELD_NAMES, Log
from ledger.pan import HIDDEN, Pan, luhn_digit

NUMBER = "4111111111111111"
ROOT = Path(__file__).resolve().parents[2]
AT_NS = 1_770_000_000_123_456_789


def lines_of(*, style: str = "json", level: str = "debug", **fields: object) -> list[str]:
    """Log one line about ``fields`` at info and return what was written."""
    stream = io.StringIO()
    log = Log(stream, style=style, level=level, clock_ns=lambda: AT_NS)  # type: ignore[arg-type]
    log.info("test.line", **fields)  # type: ignore[arg-type]
    log.close()
    return stream.getvalue().splitlines()


def test_line_is_one_json_object() -> None:
    """Time in UTC with microseconds, level, event, then fields in the order of the allow-list."""
    [line] = lines_of(count=3, link=7, msg="all\nis well", reason=None)
    assert json.loads(line) == {
        "ts": "2026-02-02T02:40:00.123456Z",
        "level": "info",
        "event": "test.line",
        "msg": "all\nis well",
        "link": 7,
        "count": 3,
    }
    assert line.index('"msg"') < line.index('"link"') < line.index('"count"')


def test_text_is_for_people() -> None:
    """On a terminal: time of day, level, event, message, fields; control characters stay quoted."""
    [line] = lines_of(style="text", msg="started", address="127.0.0.1:1", reason="a\x1b[31m b")
    assert line == (
        '02:40:00.123456 INFO    test.line started address=127.0.0.1:1 reason="a\\u001b[31m b"'
    )


def test_auto_is_json_without_a_terminal() -> None:
    """A stream that is no terminal gets JSON."""
    [line] = lines_of(style="auto")
    assert json.loads(line)["event"] == "test.line"


@pytest.mark.parametrize(
    "value",
    [
        NUMBER,
        int(NUMBER),
        f"no card {NUMBER} here",
        "4111 1111 1111 1111",
        ValueError(f"bad {NUMBER}"),
        NUMBER.encode(),
        [NUMBER],
        {"pan": NUMBER},
        float(NUMBER),
    ],
)
@pytest.mark.parametrize("style", ["json", "text"])
def test_card_number_is_hidden(value: object, style: str) -> None:
    """In a text, a number, an error or any unknown type, a card number is hidden."""
    [line] = lines_of(style=style, reason=value)
    assert HIDDEN in line
    assert "1111111" not in line.replace(" ", "")


def test_pan_shows_masked_at_most() -> None:
    """A Pan put into a line by mistake is hidden whole."""
    [line] = lines_of(reason=Pan(NUMBER))
    assert json.loads(line)["reason"] == HIDDEN


@given(st.text("0123456789", min_size=12, max_size=18), st.text("ab =-:", max_size=4))
def test_any_valid_number_is_hidden(prefix: str, around: str) -> None:
    """Whatever passes the check digit with 13 to 19 digits is not written."""
    number = prefix + luhn_digit(prefix)
    [line] = lines_of(reason=f"{around}{number}{around}")
    assert number not in line


def test_unknown_field_is_our_mistake() -> None:
    """A field outside the allow-list is refused."""
    with pytest.raises(AssertionError, match="allow-list"):
        lines_of(track="x")
    assert "track" not in FIELD_NAMES


def test_level_filters() -> None:
    """Lines under the level are not written."""
    assert lines_of(level="warning") == []


def test_long_value_is_cut() -> None:
    """One field cannot flood the log."""
    [line] = lines_of(reason="x" * 10_000)
    assert len(line) < 700


class _StuckStream(io.StringIO):
    """A stderr that takes nothing until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.is_stuck = threading.Event()
        self.go = threading.Event()

    def write(self, text: str) -> int:
        """Wait, then write."""
        self.is_stuck.set()
        assert self.go.wait(20)
        return super().write(text)


def test_slow_stream_drops_and_counts() -> None:
    """Putting lines never waits: past the bound they are dropped, and the count is written."""
    stream = _StuckStream()
    log = Log(stream, style="json", queue_max=10)
    log.info("test.first")
    assert stream.is_stuck.wait(20)
    for _ in range(25):
        log.info("test.more")
    assert log.dropped_count == 15
    stream.go.set()
    log.close()
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [e["event"] for e in events].count("test.more") == 10
    assert [e["count"] for e in events if e["event"] == "log.dropped"] == [15]


def test_broken_stream_does_not_end_the_thread() -> None:
    """A stream that is closed costs its lines, nothing else."""
    stream = io.StringIO()
    log = Log(stream, style="json")
    stream.close()
    log.info("test.line")
    log.close()
    assert log.dropped_count == 1


def test_event_names_are_one_a_call_site() -> None:
    """Every event name is dotted and stands at one place in the sources."""
    pattern = re.compile(r"\blog\.(?:debug|info|warning|error)\(\s*\"([^\"]*)\"")
    names = [
        name
        for package in ("engine", "bench")
        for path in sorted((ROOT / package).rglob("*.py"))
        for name in pattern.findall(path.read_text(encoding="utf-8"))
    ]
    assert [n for n in names if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", n)] == []
    assert sorted(names) == sorted(set(names))
