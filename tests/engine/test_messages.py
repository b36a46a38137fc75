"""Single messages, read and written: the codec of what the host says by itself."""

import iso8583
import pytest
from iso8583.specs import default

from engine.messages import MessageCodec
from engine.wire.columns import Fault
from engine.wire.dialect import BUILTIN_DIALECTS, load_builtin, parse_dialect

_FIELDS = {7: "1124120000", 11: "000042", 52: "0102030405060708", 70: "301"}


@pytest.mark.parametrize("name", ["iso87-bin", "iso87-hex"])
def test_what_is_written_is_read_again(name: str) -> None:
    """Text and binary fields come back, the latter as hex."""
    codec = MessageCodec(load_builtin(name))
    frame = codec.frame("0800", _FIELDS)
    size = codec.size_of(frame[: codec.header_bytes])
    assert size == len(frame) - codec.header_bytes
    message = codec.read(frame[codec.header_bytes :])
    assert (message.mti, message.fields, message.fault) == ("0800", _FIELDS, Fault.NONE)


def test_an_independent_codec_reads_it() -> None:
    """pyiso8583 finds the same fields."""
    frame = MessageCodec(load_builtin("iso87-bin")).frame("0800", _FIELDS)
    decoded, _ = iso8583.decode(frame[2:], default)
    assert {int(n): v for n, v in decoded.items() if n in ("7", "11", "52", "70")} == _FIELDS


def test_what_cannot_be_read_is_a_fault_not_an_error() -> None:
    """Bytes that are no message, too short or cut, give a message with its fault."""
    codec = MessageCodec(load_builtin("iso87-bin"))
    assert codec.read(b"zzzz" + bytes(12)).mti == ""
    assert codec.read(b"08").fault == Fault.MTI
    assert codec.read(codec.frame("0800", _FIELDS)[2:-1]).fault == Fault.LENGTH


def test_secrets_are_not_shown() -> None:
    """A card number is 6 + 4, a PIN block hidden."""
    codec = MessageCodec(load_builtin("iso87-bin"))
    shown = codec.shown("0100", {2: "4111111111111111", 52: "0102030405060708", 11: "000001"})
    assert shown == "0100 2=411111******1111 11=000001 52=(hidden)"


def test_a_field_that_cannot_be_is_named() -> None:
    """A field of the wrong length, or one that the dialect lacks."""
    codec = MessageCodec(load_builtin("iso87-bin"))
    for fields, name in (({11: "1"}, "DE11"), ({65: "1"}, "DE65")):
        with pytest.raises(ValueError, match=name):
            codec.frame("0800", fields)


@pytest.mark.behaviour(59)
@pytest.mark.parametrize("name", BUILTIN_DIALECTS)
def test_a_sealed_message_ends_with_its_code(name: str) -> None:
    """DE64, or DE128 behind fields of a second bitmap; made of all bytes before it."""
    dialect = load_builtin(name)
    codec = MessageCodec(dialect)
    given: list[bytes] = []

    def mac(data: bytes) -> bytes:
        given.append(data)
        return bytes(range(1, 9))

    stan = "0" * (dialect.fields[11].limit - 2) + "42"
    number = f"{dialect.version}800"
    for fields, place in (({11: stan}, 64), ({11: stan, 100: "12345"}, 128)):
        frame = codec.sealed(number, fields, mac)
        size = codec.size_of(frame[: codec.header_bytes])
        message = codec.read(frame[codec.header_bytes :])
        width = dialect.fields[place].size // (1 + dialect.fields[place].is_hex)
        assert size == len(frame) - codec.header_bytes
        assert message.fault in (Fault.NONE, Fault.MISSING)
        assert message.fields == {**fields, place: bytes(range(1, 9))[:width].hex().upper()}
        assert message.raw.startswith(given[-1])
        assert len(message.raw) == len(given[-1]) + dialect.fields[place].size


def test_a_dialect_without_the_field_gets_no_code() -> None:
    """The message is what it is without."""
    lacking = parse_dialect('without = [64]\nextends = "iso87-bin"\nname = "x"\n', "x.toml")
    codec = MessageCodec(lacking)
    assert codec.sealed("0800", {11: "000001"}, lambda _: bytes(8)) == codec.frame(
        "0800", {11: "000001"}
    )
