"""How long holds live and how far a clearing may exceed one, by merchant category: a TOML file.

The shipped ``engine/terms.toml`` names its sources; ``[authorization] terms`` may name another.
"""

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ledger.accounts import AMOUNT_MINOR_MAX
from ledger.deadlines import LIFE_H_MAX

MCC_COUNT = 10_000
DEFAULT_PATH = Path(__file__).with_name("terms.toml")


class TermsError(ValueError):
    """A terms file that cannot be taken: one line with file, entry and what would be right."""


class Terms(NamedTuple):
    """Columns by merchant category, as the kernels read them."""

    life_h: NDArray[np.int64]  # i64 (2, 10000): card present, card not present
    over_per_10000: NDArray[np.int64]  # i64 (10000,)
    over_least_minor: NDArray[np.int64]  # i64 (10000,)


class _Life(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    card_present: int
    card_not_present: int


class _Over(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    per_10000: int = 0
    least_minor: int = 0


class _Category(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    mcc: list[str]
    card_present: int | None = None
    card_not_present: int | None = None
    per_10000: int | None = None
    least_minor: int | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hold_life_h: _Life
    source: list[str] = []
    over_capture: _Over = _Over()
    category: list[_Category] = []


def load_terms(path: Path = DEFAULT_PATH) -> Terms:
    """Read a terms file. ``TermsError`` names file, entry and what would be right."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        file = msgspec.convert(raw, _File)
    except (OSError, UnicodeDecodeError) as error:
        raise TermsError(f"{path}: cannot be read: {error}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise TermsError(f"{path}: {error}") from None
    terms = Terms(
        np.zeros((2, MCC_COUNT), np.int64),
        np.zeros(MCC_COUNT, np.int64),
        np.zeros(MCC_COUNT, np.int64),
    )
    _fill(terms, np.arange(MCC_COUNT), file.hold_life_h, f"{path}: hold_life_h")
    _fill(terms, np.arange(MCC_COUNT), file.over_capture, f"{path}: over_capture")
    for i, category in enumerate(file.category):
        place = f"{path}: category[{i}]"
        _fill(terms, _categories(category.mcc, place), category, place)
    return terms


def uniform_terms(life_h: int) -> Terms:
    """Return terms that let every hold live ``life_h`` hours, and the shipped tolerances."""
    if not 1 <= life_h <= LIFE_H_MAX:
        raise TermsError(f"a hold lives 1 to {LIFE_H_MAX} hours, not {life_h}")
    shipped = load_terms()
    return shipped._replace(life_h=np.full((2, MCC_COUNT), life_h, np.int64))


def _fill(terms: Terms, rows: NDArray[np.int64], entry: Any, place: str) -> None:
    columns = {
        "card_present": (terms.life_h[0], 1, LIFE_H_MAX),
        "card_not_present": (terms.life_h[1], 1, LIFE_H_MAX),
        "per_10000": (terms.over_per_10000, 0, 10_000),
        "least_minor": (terms.over_least_minor, 0, AMOUNT_MINOR_MAX),
    }
    for name, (column, least, most) in columns.items():
        value = getattr(entry, name, None)
        if value is None:
            continue
        if not least <= value <= most:
            raise TermsError(f"{place}: {name}: expected {least} to {most}, not {value}")
        column[rows] = value


def _categories(texts: list[str], place: str) -> NDArray[np.int64]:
    rows: list[int] = []
    for text in texts:
        first, _, last = text.partition("-")
        if not all(len(t) == 4 and t.isascii() and t.isdigit() for t in (first, last or first)):
            raise TermsError(f'{place}: mcc: expected "5812" or "3000-3350", not {text!r}')
        if int(last or first) < int(first):
            raise TermsError(f"{place}: mcc: {text!r} ends before it begins")
        rows += range(int(first), int(last or first) + 1)
    return np.array(rows, np.int64)
