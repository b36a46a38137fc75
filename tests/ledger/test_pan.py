"""Card numbers never show themselves."""

import copy
import json
import pickle
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.pan import HIDDEN, Pan, hide_pans, luhn_digit, luhn_ok, mask

NUMBER = "4111111111111111"
# The only modules that may see clear digits: one tokenizes, one encrypts.
UNWRAPPERS = {"engine/tokens.py", "ledger/vault.py", "engine/clearing_commands.py"}
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("show", [str, "{}".format, lambda pan: f"{pan:>5}"])
def test_text_shows_bin_and_last_four(show: object) -> None:
    """Every way to text gives first six and last four only."""
    assert show(Pan(NUMBER)) == "411111******1111"  # type: ignore[operator]


def test_repr_is_masked() -> None:
    """Repr names the type and masks the number."""
    assert repr(Pan(NUMBER)) == "Pan(411111******1111)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1234",
        "41111111111",
        "4" * 20,
        "4111 1111 1111 1111",
        "\uff14" * 16,
        "track=4111",
    ],
)
def test_wrong_shape_is_hidden_whole(text: str) -> None:
    """What is not 12 to 19 ASCII digits shows nothing, not even its length."""
    assert str(Pan(text)) == HIDDEN
    assert repr(Pan(text)) == f"Pan({HIDDEN})"
    assert Pan(text).bin == Pan(text).last4 == ""


@pytest.mark.parametrize(
    "encode",
    [
        pickle.dumps,
        copy.copy,
        copy.deepcopy,
        json.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
    ],
)
def test_cannot_be_encoded_or_copied(encode: object) -> None:
    """Every way out of the process or into a copy is refused, without the number in the error."""
    with pytest.raises(TypeError) as refusal:
        encode(Pan(NUMBER))  # type: ignore[operator]
    assert NUMBER not in str(refusal.value)


def test_equals_only_another_pan() -> None:
    """A Pan equals a Pan of the same digits and never a string."""
    assert Pan(NUMBER) == Pan(NUMBER)
    assert hash(Pan(NUMBER)) == hash(Pan(NUMBER))
    assert Pan(NUMBER) != Pan("4111111111111112")
    assert Pan(NUMBER) != NUMBER


def test_has_no_attributes_to_leak() -> None:
    """There is no __dict__ for a debugger or serializer to walk."""
    assert not hasattr(Pan(NUMBER), "__dict__")


def test_only_three_modules_unwrap() -> None:
    """Clear digits are taken in tokenizer and vault, and where a file goes to the engine."""
    callers = {
        str(path.relative_to(ROOT))
        for package in ("engine", "scoring", "ledger", "bench")
        for path in (ROOT / package).rglob("*.py")
        if re.search(r"\.digits\(\)", path.read_text(encoding="utf-8"))
    }
    assert callers - {"ledger/pan.py"} <= UNWRAPPERS


@given(st.text("0123456789", min_size=1, max_size=18))
def test_check_digit_is_the_only_one_that_holds(prefix: str) -> None:
    """Exactly one last digit satisfies Luhn, and luhn_digit finds it."""
    holding = [digit for digit in "0123456789" if luhn_ok(prefix + digit)]
    assert holding == [luhn_digit(prefix)]


@given(st.text("0123456789", min_size=1, max_size=19))
def test_luhn_agrees_with_the_textbook(digits: str) -> None:
    """The sum over doubled digits, written out, gives the same answer."""
    total = 0
    for i, c in enumerate(reversed(digits)):
        value = int(c) * (2 if i % 2 else 1)
        total += value // 10 + value % 10
    assert luhn_ok(digits) == (total % 10 == 0)


@pytest.mark.parametrize("text", ["", "x", "41 1", "\uff14"])
def test_luhn_refuses_other_than_digits(text: str) -> None:
    """Text that is not ASCII digits has no check digit."""
    assert not luhn_ok(text)
    with pytest.raises(ValueError, match="check digit"):
        luhn_digit(text)


@pytest.mark.parametrize(
    "text",
    [
        NUMBER,
        f"before{NUMBER}after",
        f"x={NUMBER};y=1",
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "3782 822463 10005",
        f"000{NUMBER}",
        f"{NUMBER}99999",
        f"a {NUMBER} b 5500005555555559",
    ],
)
def test_numbers_in_text_are_hidden(text: str) -> None:
    """Card numbers alone, inside words, grouped or with digits around do not survive."""
    shown = hide_pans(text)
    assert HIDDEN in shown
    assert not re.search(r"\d{5}", shown.replace("-", "").replace(" ", ""))


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:8583", "rrn 123456789012", "2026-01-31T10:00:00Z", "seq 42", "4111111111111112"],
)
def test_other_text_stays(text: str) -> None:
    """Addresses, reference numbers, times and runs without check digit are left alone."""
    assert hide_pans(text) == text


def test_mask_keeps_the_length() -> None:
    """A mask has one character a digit."""
    assert mask("123456789012") == "123456**9012"
