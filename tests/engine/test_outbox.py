"""The outbox: order, tries, bounds, and what may not be kept."""

from pathlib import Path

import pytest

from engine.errors import StorageFailure
from engine.outbox import FILE, Outbox, check
from engine.wire.dialect import load_builtin

_FIELDS = {7: "1124120000", 11: "000001", 70: "301"}
_DIALECT = load_builtin("iso87-bin")


def test_behaviour_57_messages_of_a_line_go_in_order(tmp_path: Path) -> None:
    """The first that waits is next, whatever was added after; other lines have their own."""
    outbox = Outbox(tmp_path, 10)
    first = outbox.put("a", "0620", _FIELDS, "op", 5)
    outbox.put("b", "0620", _FIELDS, "op", 5)
    second = outbox.put("a", "0820", _FIELDS, "op", 5)
    assert (first, second) == (1, 3)
    stored = outbox.first("a")
    assert stored is not None
    assert (stored.id, stored.mti_of_try, dict(stored.fields)) == (1, "0620", _FIELDS)
    outbox.note_end(1, "delivered", "00")
    again = outbox.first("a")
    assert again is not None
    assert again.id == 3
    assert outbox.first("c") is None
    outbox.close()


def test_behaviour_57_tries_are_kept_over_a_restart(tmp_path: Path) -> None:
    """A try that was noted is a repeat for whoever opens the file next; the file is ours alone."""
    outbox = Outbox(tmp_path, 10)
    outbox.put("a", "0620", _FIELDS, "op", 5)
    outbox.note_try(1)
    outbox.note_wait(1, 99, "91")
    outbox.close()
    again = Outbox(tmp_path, 10)
    stored = again.first("a")
    assert stored is not None
    assert (stored.tries, stored.mti_of_try, stored.next_ns, stored.code) == (1, "0621", 99, "91")
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    again.close()


def test_past_its_bound_nothing_is_taken(tmp_path: Path) -> None:
    """Only what waits counts."""
    outbox = Outbox(tmp_path, 2)
    assert [outbox.put("a", "0620", _FIELDS, "op", 5) for _ in range(3)] == [1, 2, None]
    outbox.note_end(1, "refused", "12")
    assert outbox.put("a", "0620", _FIELDS, "op", 5) == 3
    assert (outbox.count("waiting"), outbox.count("refused")) == (2, 1)
    assert [stored.id for stored in outbox.listed(10)] == [3, 2, 1]
    assert [stored.id for stored in outbox.listed(10, "refused")] == [1]
    outbox.close()


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """One line with the path."""
    (tmp_path / FILE).write_bytes(b"not a database" * 100)
    with pytest.raises(StorageFailure, match=FILE):
        Outbox(tmp_path, 10)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({2: "4111111111111111"}, "DE2: pan"),
        ({35: "4111111111111111=3012"}, "DE35: track"),
        ({52: "0102030405060708"}, "DE52: pin"),
        ({48: "card 4111 1111 1111 1111"}, "DE48"),
        ({65: "1"}, "DE65"),
    ],
)
def test_card_data_is_not_kept(fields: dict[int, str], word: str) -> None:
    """The reason names the field and repeats nothing."""
    reason = check(_DIALECT, fields)
    assert reason is not None
    assert word in reason
    assert "4111" not in reason


def test_other_fields_may_be_kept() -> None:
    """Administrative text and numbers."""
    assert check(_DIALECT, {37: "000000000001", 48: "settlement is late", 70: "301"}) is None
