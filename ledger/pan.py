"""A card number that cannot print, pickle or encode itself.

``Pan`` shows at most the first six and the last four digits (PCI DSS 4.0.1, 3.4.1), and nothing at
all when its shape is not that of a card number. ``Pan.digits`` is the only way to the digits; a
test names the modules that may call it. ``hide_pans`` does the same for free text.
"""

import hmac
import re
from typing import NoReturn, SupportsIndex

DIGITS_MIN = 12
DIGITS_MAX = 19
HIDDEN = "[hidden]"
# A run of 13 to 19 digits can be a card number; a longer one is nothing that belongs in a line.
_RUN = re.compile(r"\d{13,}")
# As people write them: groups of four, or 4-6-5, with one blank or dash between.
_GROUPED = re.compile(r"(?<!\d)\d{4}[ -](?:\d{4}[ -]\d{4}(?:[ -]\d{1,7})?|\d{6}[ -]\d{5})(?!\d)")
# By ASCII code of a digit: digit sum of twice the digit.
_DOUBLED = bytes(48) + bytes((0, 2, 4, 6, 8, 1, 3, 5, 7, 9)) + bytes(198)


class Pan:
    """A primary account number, 12 to 19 digits; other text is kept but always hidden."""

    __slots__ = ("__digits",)

    def __init__(self, digits: str) -> None:
        self.__digits = digits

    def digits(self) -> str:
        """Return the clear digits: for tokenizing and for encryption only."""
        return self.__digits

    @property
    def is_well_formed(self) -> bool:
        """Whether it is 12 to 19 digits; the check digit is another question."""
        return _is_well_formed(self.__digits)

    @property
    def is_luhn_ok(self) -> bool:
        """Whether it is well formed and its check digit holds."""
        return self.is_well_formed and luhn_ok(self.__digits)

    @property
    def bin(self) -> str:
        """First six digits, or "" when the shape is wrong."""
        return self.__digits[:6] if self.is_well_formed else ""

    @property
    def last4(self) -> str:
        """Last four digits, or "" when the shape is wrong."""
        return self.__digits[-4:] if self.is_well_formed else ""

    def __str__(self) -> str:
        return mask(self.__digits)

    def __repr__(self) -> str:
        return f"Pan({mask(self.__digits)})"

    def __format__(self, spec: str) -> str:
        return format(mask(self.__digits), spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Pan):
            return NotImplemented
        return hmac.compare_digest(self.__digits.encode(), other.__digits.encode())

    def __hash__(self) -> int:
        return hash((Pan, self.__digits))

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a Pan cannot be pickled or copied")


def mask(digits: str) -> str:
    """Return ``digits`` as first six, stars, last four; all hidden unless 12 to 19 digits."""
    if not _is_well_formed(digits):
        return HIDDEN
    return digits[:6] + "*" * (len(digits) - 10) + digits[-4:]


def hide_pans(text: str) -> str:
    """Return ``text`` with everything hidden that may be a card number; unsure means hidden.

    Hidden are runs of 13 to 19 digits that hold the check digit, longer runs of digits whole, and
    digits grouped as on a card (blanks or dashes between) that hold it.
    """
    return _GROUPED.sub(_hidden_if_pan, _RUN.sub(_hidden_if_pan, text))


def luhn_ok(digits: str) -> bool:
    """Return whether ``digits`` end in their check digit (ISO/IEC 7812-1, annex B)."""
    if not (digits.isascii() and digits.isdigit()):
        return False
    return _luhn_sum(digits, last_is_check=True) % 10 == 0


def luhn_digit(prefix: str) -> str:
    """Return the one check digit that belongs after ``prefix`` (digits only)."""
    if not (prefix.isascii() and prefix.isdigit()):
        raise ValueError("a check digit needs digits before it")
    return str(-_luhn_sum(prefix, last_is_check=False) % 10)


def _luhn_sum(digits: str, *, last_is_check: bool) -> int:
    text = digits.encode("ascii")
    plain, doubled = text[::-2], text[-2::-2]
    if not last_is_check:
        plain, doubled = doubled, plain
    return sum(plain) - ord("0") * len(plain) + sum(doubled.translate(_DOUBLED))


def _is_well_formed(digits: str) -> bool:
    return DIGITS_MIN <= len(digits) <= DIGITS_MAX and digits.isascii() and digits.isdigit()


def _hidden_if_pan(match: re.Match[str]) -> str:
    digits = match[0].replace(" ", "").replace("-", "")
    return HIDDEN if len(digits) > DIGITS_MAX or luhn_ok(digits) else match[0]
