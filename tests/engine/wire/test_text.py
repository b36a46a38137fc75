"""Messages for people: secrets stay hidden, whatever the message looks like."""

import pytest

from engine.wire.columns import Fault
from engine.wire.text import HIDDEN, build_message, explain_message, mask_value
from tests.engine.wire.support import BIN, HEX, SAMPLE

PAN = "4111111111111111"


def test_explanation_shows_public_fields_and_masks_the_rest() -> None:
    """Amounts are shown, a card number as 6+4, tracks and PIN blocks not at all."""
    values = {**SAMPLE, 35: f"{PAN}=3012201", 48: "CVV 123"}
    lines = {f.number: f for f in explain_message(BIN, build_message(BIN, "0100", values)).fields}
    assert lines[2].shown == "411111******1111"
    assert lines[4].shown == "000000012345"
    assert [lines[n].shown for n in (35, 48, 52)] == [HIDDEN] * 3
    assert (lines[2].offset, lines[2].length) == (14, 16)


def test_broken_message_shows_no_value() -> None:
    """Bytes of a message that does not parse may be anything, so none is shown."""
    message = build_message(BIN, "0100", {**SAMPLE, 43: f"{PAN:<40}"}) + b"x"
    told = explain_message(BIN, message)
    assert told.fault == Fault.TRAILING
    assert {f.shown for f in told.fields} == {HIDDEN}
    assert PAN not in repr(told)


@pytest.mark.parametrize("data", [b"", b"01", b"0100", b"0100" + bytes(3)])
def test_short_messages_are_explained_as_faults(data: bytes) -> None:
    """A message too short for a bitmap is a fault, not an exception."""
    assert explain_message(BIN, data).fault in (Fault.MTI, Fault.BITMAP)


def test_short_card_numbers_and_undeclared_fields_are_hidden() -> None:
    """6+4 of twelve digits would show most of them; no declaration means no showing."""
    assert mask_value(BIN.fields[2], b"123456789012") == HIDDEN
    assert mask_value(BIN.fields[2], b"not a number at all") == HIDDEN
    assert mask_value(None, b"123") == HIDDEN


def test_public_bytes_are_shown_in_hex() -> None:
    """A MAC is shown as hex in either dialect."""
    assert mask_value(BIN.fields[64], bytes(range(8))) == "0001020304050607"
    assert mask_value(HEX.fields[64], b"0001020304050607") == "0001020304050607"


@pytest.mark.parametrize(("number", "value"), [(2, "1" * 20), (3, "12345"), (65, "1")])
def test_build_refuses_lengths_and_fields_of_no_dialect(number: int, value: str) -> None:
    """The error names the field and never its content."""
    with pytest.raises(ValueError, match=f"DE{number}: ") as caught:
        build_message(BIN, "0100", {number: value})
    assert value not in str(caught.value).removeprefix(f"DE{number}") or len(value) < 3


def test_oversized_message_is_refused() -> None:
    """More bytes than a frame may have cannot be explained."""
    with pytest.raises(ValueError, match="at most 8192"):
        explain_message(BIN, bytes(9000))
