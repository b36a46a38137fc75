"""Frames written and counted by hand: the fixed points that no shared mistake can move."""

from pathlib import Path

import pytest

from tests.engine.wire.support import DIALECTS, columns, decode, encode, field_spans

pytestmark = pytest.mark.kernels

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def read_golden(name: str) -> bytes:
    """Return the bytes of a golden file; spaces, line ends and remarks are nothing."""
    lines = (GOLDEN / f"{name}.hex").read_text(encoding="ascii").splitlines()
    return bytes.fromhex("".join(line.partition("#")[0] for line in lines))


@pytest.mark.parametrize(
    ("dialect", "asked", "answered", "mti", "approval"),
    [
        (0, "iso87-bin-0100", "iso87-bin-0110", 110, b"A1B2C3"),
        (1, "iso87-hex-0800", "iso87-hex-0810", 810, b""),
    ],
)
def test_golden_request_gives_the_golden_answer(
    dialect: int, asked: str, answered: str, mti: int, approval: bytes
) -> None:
    """A frame checked by hand decodes without fault, and its answer is the one written by hand."""
    batch = decode([(dialect, read_golden(asked))])
    (out,) = encode(batch, [(0, mti, b"00", approval, None)])
    assert columns(batch)["fault"] == 0
    assert out == read_golden(answered)


def test_golden_authorization_has_its_columns() -> None:
    """The numbers of the hand-written 0100 are those of its remarks."""
    batch = decode([(0, read_golden("iso87-bin-0100"))])
    row = columns(batch)
    assert (row["mti"], row["amount"], row["transmitted"]) == (100, 12345, 1123214501)
    assert (row["stan"], row["currency"], row["bin"], row["luhn"]) == (123, 978, 411111, 1)
    assert row["rrn_a"].to_bytes(8, "little") == b"    1234"
    assert row["rrn_b"].to_bytes(4, "little") == b"5678"
    assert list(field_spans(batch)) == [2, 3, 4, 7, 11, 37, 49]
    assert field_spans(batch)[2] == (14, 16)


def test_golden_sign_on_is_the_last_second_of_the_year() -> None:
    """The hand-written 0800 has its network code behind the second bitmap."""
    row = columns(decode([(1, read_golden("iso87-hex-0800"))]))
    assert DIALECTS[1].name == "iso87-hex"
    assert (row["mti"], row["network_code"], row["stan"]) == (800, 1, 999999)
    assert row["transmitted"] == 1231235959
