"""The profile of a conformance run: what the host under test is set up for, as a TOML file.

Only the cards must be given; every other key has the default that most hosts have. A check that
needs what the profile does not name is skipped and says so.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.errors import ConfigError

PROFILES = Path(__file__).parent / "profiles"
_Digits = Annotated[str, Meta(pattern=r"^[0-9]{8,19}$")]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of every table."""


class Card(_Table, frozen=True):
    """A card of the host. ``available_minor`` is what may be spent on it when the run begins."""

    pan: _Digits
    expiry: Annotated[str, Meta(pattern=r"^[0-9]{4}$")] = "3012"
    available_minor: Annotated[int, Meta(ge=0)] = 0


class Cards(_Table, frozen=True):
    """Which card is what to the host.

    ``good`` has funds for the whole run (100,000 minor units); ``poor`` is the only one that is
    spent to its last unit, and it gets everything back. ``unknown`` has a right check digit.
    """

    good: Card
    poor: Card
    unknown: _Digits
    lost: Card | None = None
    stolen: Card | None = None
    blocked: Card | None = None
    expired: Card | None = None


class Host(_Table, frozen=True):
    """How the host is set up."""

    serves: tuple[str, ...] = ("0100", "0400", "0420", "0800")
    require_sign_on: bool = False
    answers_in_order: bool = True
    echoes_empty_frames: bool = False
    frame_bytes_max: int = 8192
    frame_timeout_s: int = 0  # 0 = not checked
    idle_timeout_s: int = 0  # 0 = not checked
    max_connections: int = 0  # 0 = not checked
    echo: tuple[int, ...] = (2, 3, 4, 7, 11, 12, 13, 32, 37, 41, 42, 49)
    format_field: Annotated[int, Meta(ge=0, le=128)] = 0  # names the field at fault; 0 = none
    partial_approval: bool = False
    partial_field: Annotated[int, Meta(ge=2, le=128)] = 60  # says that the terminal takes a part,
    partial_value: str = "1"  # with this in it
    balance_inquiry: bool = False
    finds_by_local_date: bool = False  # originals by DE11, DE41 and DE13
    incremental: bool = False  # the same DE37 and DE41 in a further 0100
    captured_reversal: Literal["refund", "refuse"] = "refund"
    reads_chip_data: bool = False
    takes_dates_absent: bool = False  # messages without DE7


class Codes(_Table, frozen=True):
    """DE39 by reason, where it is not the usual one; several are separated by a blank."""

    approved: str = "00"
    format: str = "30"
    not_served: str = "12"
    funds: str = "51"
    unknown_card: str = "14"
    check_digit: str = "14"
    expired: str = "54"
    lost: str = "41"
    stolen: str = "43"
    blocked: str = "62"
    not_signed_on: str = "91"
    differs: str = "94 12"
    orphan: str = "00"
    original_unknown: str = "25 12 00 76"
    partial: str = "10"
    too_much: str = "13 30"
    captured: str = "12"  # of a reversal, where captured_reversal is "refuse"


class Profile(_Table, frozen=True):
    """The whole file."""

    cards: Cards
    name: str = "a host"
    dialect: str = "iso87-bin"
    currency: Annotated[str, Meta(pattern=r"^[0-9]{3}$")] = "840"
    other_currency: Annotated[str, Meta(pattern=r"^[0-9]{3}$")] = "978"  # that no card has
    answer_timeout_s: Annotated[float, Meta(gt=0, le=60)] = 5.0
    silence_s: Annotated[float, Meta(gt=0, le=10)] = 0.4  # no answer within it is none
    host: Host = Host()
    codes: Codes = Codes()


def load_profile(path: Path) -> Profile:
    """Return the profile of a file, or the shipped one of that name.

    Raises
    ------
    ConfigError
        One line with the file, the key and what would be right; no value is repeated.
    """
    if not path.exists() and path.suffix == "" and (PROFILES / f"{path}.toml").is_file():
        path = PROFILES / f"{path}.toml"
    try:
        return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Profile)
    except OSError as problem:
        raise ConfigError(f"{path}: cannot be read: {problem.strerror}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        raise ConfigError(f"{path}: not TOML: {problem}") from None
    except msgspec.ValidationError as problem:
        text, _, place = str(problem).partition(" - at `$.")
        key = place.rstrip("`") or "profile"
        raise ConfigError(f"{path}: {key}: {text[:1].lower()}{text[1:]}") from None
