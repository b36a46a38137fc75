"""Amounts read right in every currency."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import money


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (123450, 840, "1,234.50 USD"),
        (-5, 978, "-0.05 EUR"),
        (1000, 392, "1,000 JPY"),
        (1, 414, "0.001 KWD"),
        (12345, 990, "1.2345 CLF"),
        (0, 826, "0.00 GBP"),
        (77, 999, "77 minor units of currency 999"),
    ],
)
def test_amounts_read_with_their_decimals(amount: int, currency: int, text: str) -> None:
    """Each currency shows its own number of decimals; an unknown one shows none and says so."""
    assert money.format_minor(amount, currency) == text


@given(st.integers(-(10**18), 10**18), st.sampled_from(sorted(money.CODE)))
def test_text_holds_every_digit(amount: int, currency: int) -> None:
    """The text of an amount, without its marks, is the amount."""
    number = money.format_minor(amount, currency).split(" ")[0]
    assert int(number.replace(",", "").replace(".", "")) == amount


def test_table_is_whole() -> None:
    """Codes are three capitals, each once, and decimals stand exactly where a code stands."""
    assert len(money.CODE) > 160
    assert len(set(money.CODE.values())) == len(money.CODE)
    assert all(len(code) == 3 and code.isupper() for code in money.CODE.values())
    assert [n for n in range(1000) if money.is_known(n)] == sorted(money.CODE)
    assert not money.is_known(-1)
    assert not money.is_known(1000)
