"""Messages that are not right, and messages that are: behaviours 11 to 16, in both dialects."""

import random

import iso8583
import pytest

from tests.system.link import Fields, Link, changed, network, payment
from tests.system.process import BIN, HEX, TIGHT, Card, Switch

_DIALECTS = pytest.mark.parametrize("listener", [BIN, HEX])


@pytest.fixture(scope="module")
def card(switch: Switch) -> Card:
    """Open one card for the module."""
    return switch.open_card(limit_minor=100_000_000)


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(2, "big") + message


def _spoiled(link: Link, ask: Fields, before: str, after: str) -> bytes:
    """Return the frame of ``ask`` with a piece of its text replaced by one of any length."""
    message = link.frame(ask)[2:]
    assert message.count(before.encode()) == 1
    return _framed(message.replace(before.encode(), after.encode()))


def _expect_format_error(link: Link, ask: Fields, frame: bytes, field: int) -> None:
    link.socket.sendall(frame)
    answer = link.receive()
    assert (answer["t"], answer["11"], answer["39"]) == ("0110", ask["11"], "30")
    assert answer.get("44") == (f"{field:03d}" if field else None)
    assert "38" not in answer
    assert link.is_alive()


@_DIALECTS
@pytest.mark.parametrize(
    ("before", "after", "field"),
    [
        ("000000654321", "0000006543x1", 4),  # a letter in digits
        ("840666", "840 66", 22),  # a blank in digits: 19 before it is right
        ("06400099", "x6400099", 32),  # the length is no number
        ("TERMXY01", "TERM\x0101", 41),  # a control character in text
        ("25125411", "25135411", 14),  # no such month
    ],
)
def test_behaviour_11_a_bad_field_is_answered_with_its_number(
    switch: Switch, card: Card, listener: int, before: str, after: str, field: int
) -> None:
    """A request whose STAN can be read gets 30 and the field in DE44; the link stays open."""
    with switch.link(listener) as link:
        ask = payment(card.pan, 654_321, de14="2512", de22="666", de41="TERMXY01")
        frame = _spoiled(link, ask, before, after)
        _expect_format_error(link, ask, frame, field)


@_DIALECTS
def test_behaviour_11_bytes_after_the_last_field_are_a_format_error(
    switch: Switch, card: Card, listener: int
) -> None:
    """Exactly all bytes are a message; one more is answered with 30."""
    with switch.link(listener) as link:
        ask = payment(card.pan)
        _expect_format_error(link, ask, _framed(link.frame(ask)[2:] + b"0"), 0)


@_DIALECTS
def test_behaviour_11_a_message_cut_short_is_a_format_error(
    switch: Switch, card: Card, listener: int
) -> None:
    """A frame that ends inside its last field names that field."""
    with switch.link(listener) as link:
        ask = payment(card.pan)
        _expect_format_error(link, ask, _framed(link.frame(ask)[2:-1]), 49)


def test_behaviour_11_a_format_error_moves_no_money(switch: Switch) -> None:
    """What was answered with 30 is in no balance."""
    card = switch.open_card()
    with switch.link() as link:
        ask = payment(card.pan)
        _expect_format_error(link, ask, _framed(link.frame(ask)[2:] + b"0"), 0)
        assert switch.held(card) == 0
        assert link.ask(ask)["39"] == "00"  # the corrected message is a new one


def test_behaviour_12_an_unreadable_type_is_not_answered(switch: Switch) -> None:
    """Without a readable MTI there is nothing to answer: it is counted."""
    series = 'de39_unanswered_total{reason="unreadable_mti"}'
    before = switch.metric(series)
    with switch.link() as link:
        frame = link.frame(network())
        link.socket.sendall(frame[:2] + b"08x0" + frame[6:])
        assert link.is_alive()
    assert switch.metric(series) == before + 1


def test_behaviour_12_many_unreadable_types_in_a_row_close(switch: Switch) -> None:
    """Ten in a row end the link; a good message in between starts the count again."""
    with switch.link() as link:
        frame = link.frame(network())
        bad = frame[:2] + b"\xff\xff\xff\xff" + frame[6:]
        for _ in range(3):
            link.socket.sendall(bad * 9)
            assert link.is_alive()
        link.socket.sendall(bad * 10)
        assert link.is_closed()


@_DIALECTS
@pytest.mark.parametrize("mti", ["0110", "0130", "0410", "0430", "0810", "0610", "0191"])
def test_behaviour_12_a_response_is_never_answered(
    switch: Switch, card: Card, listener: int, mti: str
) -> None:
    """A message whose function digit is odd is an answer; nothing comes back for it."""
    with switch.link(listener) as link:
        link.send(changed(payment(card.pan), t=mti, de39="00"))
        assert link.is_alive()


@_DIALECTS
@pytest.mark.parametrize(
    ("mti", "expected"),
    [
        ("0500", "0510"),
        ("0600", "0610"),
        ("0302", "0312"),
        ("0140", "0150"),
        ("1100", "1110"),
        ("0102", "0112"),
        ("0208", "0218"),
    ],
)
def test_behaviour_13_a_message_not_served_gets_12(
    switch: Switch, card: Card, listener: int, mti: str, expected: str
) -> None:
    """Valid syntax of a type that is not served is answered xx1x with 12, its key echoed."""
    ask = changed(payment(card.pan), t=mti)
    with switch.link(listener) as link:
        answer = link.ask(ask)
        assert (answer["t"], answer["39"], answer["11"]) == (expected, "12", ask["11"])
        assert link.is_alive()


@_DIALECTS
def test_behaviour_14_an_empty_secondary_bitmap_is_accepted(
    switch: Switch, card: Card, listener: int
) -> None:
    """Bit 1 set before an all-zero second bitmap is fine; the answer sets bit 1 only if needed."""
    width = 8 if listener == BIN else 16
    with switch.link(listener) as link:
        ask = payment(card.pan)
        message = link.frame(ask)[2:]
        first = message[4 : 4 + width]
        if listener == BIN:
            first, second = bytes([first[0] | 0x80]) + first[1:], bytes(8)
        else:
            first, second = b"%X" % (int(first[:1], 16) | 8) + first[1:], b"0" * 16
        link.socket.sendall(_framed(message[:4] + first + second + message[4 + width :]))
        raw = link.receive_bytes()
        answer, encoded = iso8583.decode(raw, link.spec)
        assert (answer["11"], answer["39"]) == (ask["11"], "00")
        assert "1" not in encoded


def test_behaviour_14_lower_case_hex_is_accepted(switch: Switch, card: Card) -> None:
    """A hex bitmap may come in small letters; the answer has capitals."""
    with switch.link(HEX) as link:
        message = link.frame(payment(card.pan))[2:]
        assert message[4:20] != message[4:20].lower()
        link.socket.sendall(_framed(message[:4] + message[4:20].lower() + message[20:]))
        raw = link.receive_bytes()
        assert raw[4:20] == raw[4:20].upper()
        assert iso8583.decode(raw, link.spec)[0]["39"] == "00"


@_DIALECTS
@pytest.mark.parametrize("length", ["+6", " 6", "-1", "_6", "6 ", "\x006", "12", "99"])
def test_behaviour_15_a_length_is_two_digits_within_the_maximum(
    switch: Switch, card: Card, listener: int, length: str
) -> None:
    """What other parsers take for a number is a format error in the field, and no desync."""
    with switch.link(listener) as link:
        ask = payment(card.pan)
        _expect_format_error(link, ask, _spoiled(link, ask, "06400099", f"{length}400099"), 32)


@pytest.mark.parametrize("data", ["12345", "1G", "0x", " 1"])
def test_behaviour_15_hex_fields_are_pairs_of_hex_digits(
    switch: Switch, card: Card, data: str
) -> None:
    """An odd number of hex digits, or another character, is a format error naming the field."""
    with switch.link(HEX) as link:
        ask = payment(card.pan)
        good = changed(ask, de55="A0" * 3)
        frame = _spoiled(link, good, "006A0A0A0", f"{len(data):03d}{data}")
        _expect_format_error(link, good, frame, 55)


def test_behaviour_15_no_error_leaves_field_data_in_the_log(switch: Switch, card: Card) -> None:
    """The log says nothing of what bad messages held."""
    assert card.pan not in switch.log()
    assert "654321" not in switch.log()
    assert "Traceback" not in switch.log()


@_DIALECTS
def test_behaviour_16_both_sides_agree_on_any_valid_message(
    switch: Switch, card: Card, listener: int
) -> None:
    """Random optional fields are read as pyiso8583 wrote them, and its echo encodes the same."""
    random_ = random.Random(39)
    asks = [payment(card.pan, 1 + random_.randrange(500), **_extras(random_)) for _ in range(200)]
    with switch.link(listener) as link:
        link.send(*asks)
        for ask in asks:
            raw = link.receive_bytes()
            answer, _ = iso8583.decode(raw, link.spec)
            assert answer["39"] == "00", (ask["11"], answer.get("44"))
            for name in ("2", "3", "4", "7", "11", "12", "13", "32", "33", "37", "41", "42", "49"):
                assert answer.get(name) == ask.get(name)
            again, _ = iso8583.encode(dict(answer), link.spec)
            assert bytes(again) == raw


def _chip(random_: random.Random) -> str:
    """Return chip data of a few tags, hex: one the host knows, one nobody does."""
    made = ""
    for tag in ("9F10", "DF7A")[: random_.randint(1, 2)]:
        value = random_.randbytes(random_.randint(1, 100))
        made += f"{tag}{len(value):02X}{value.hex().upper()}"
    return made


def _extras(random_: random.Random) -> Fields:
    """Return a random choice of optional fields with random data."""

    def digits(most: int, least: int = 1) -> str:
        return "".join(random_.choices("0123456789", k=random_.randint(least, most)))

    def text(most: int, least: int = 1) -> str:
        printable = [chr(code) for code in range(32, 127)]
        return "".join(random_.choices(printable, k=random_.randint(least, most)))

    made = {
        "5": digits(12, 12),
        "23": digits(3, 3),
        "26": digits(2, 2),
        "28": random_.choice("CD") + digits(8, 8),
        "32": digits(11),
        "33": digits(11),
        "43": text(40, 40),
        "44": text(25),
        "46": text(300),
        "47": text(300),
        "48": text(999),
        "52": random_.randbytes(8).hex().upper(),
        "53": digits(16, 16),
        "54": text(120),
        "55": _chip(random_),
        "60": text(999),
        "62": text(300),
        "64": random_.randbytes(8).hex().upper(),
        "66": digits(1, 1),
        "91": "1",
        "102": text(28),
        "120": text(999),
        "128": random_.randbytes(8).hex().upper(),
    }
    chosen = random_.sample(sorted(made), random_.randint(0, 8))
    return {f"de{name}": made[name] for name in chosen}


def test_behaviour_16_the_longest_message_fits(switch: Switch, card: Card) -> None:
    """Many long fields at once are one message, on a listener that allows its length."""
    long = {f"de{number}": "x" * 999 for number in (46, 47, 48, 60, 61, 62, 120, 121)}
    with switch.link() as link:
        assert link.ask(payment(card.pan, 1, **long))["39"] == "00"
    with switch.link(TIGHT) as link:
        link.send(payment(card.pan, 1, **long))
        assert link.is_closed()


@_DIALECTS
def test_behaviour_17_the_card_number_may_come_from_a_track(
    switch: Switch, card: Card, listener: int
) -> None:
    """Track 2 alone names card and expiry; with DE2 of another card it is a format error."""
    track = f"{card.pan}=30122010000"
    with switch.link(listener) as link:
        assert link.ask(payment(card.pan, de2=None, de14=None, de35=track))["39"] == "00"
        other = switch.open_card()
        answer = link.ask(payment(other.pan, de35=track))
        assert (answer["39"], "35" in answer) == ("30", False)


def test_behaviour_18_unknown_chip_data_is_taken_and_cut_data_is_not(
    switch: Switch, card: Card
) -> None:
    """A tag that nobody knows changes nothing; one longer than its field is a format error."""
    with switch.link(BIN) as link:
        assert link.ask(payment(card.pan, de55="9F2608" + "11" * 8 + "DF7F03AABBCC"))["39"] == "00"
        answer = link.ask(payment(card.pan, de55="9F26081122"))
        assert (answer["39"], answer["44"], "55" in answer) == ("30", "055", False)
        assert link.is_alive()
