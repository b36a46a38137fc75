"""Random texts of rule files, written from the grammar of docs/rules.md and not from trees.

Parentheses, units and spaces stand where a person might put them, so much of it is refused (an
amount plus a country); what is taken must mean the same in every form it is written in.
"""

import random

from engine.rules.columns import COLUMNS, COUNTED, ORDERED, ColumnType

_CONSTANTS = {
    ColumnType.NUMBER: ("0", "-0", "1", "0.1", "-2.50", "123456789.123456789", "007"),
    ColumnType.AMOUNT: ("0", "100", "100.00", "0.1", "-3.125", "9999999999.99"),
    ColumnType.DURATION: ("0", "90", "90s", "10m", "24h", "7d", "3601s", "99999999d", "0.5"),
    ColumnType.TIME: ("0:00", "00:05", "23:59", "24:00", "9:30"),
    ColumnType.COUNTRY: ("DE", "276", "IN", "4", "999"),
    ColumnType.ENTRY: ("chip", "on_file", "fallback"),
    ColumnType.MCC: ("742", "0742", "5411", "5410..5412", "1..2", "7995", "7000..7999"),
    ColumnType.BIN: ("411111", "000001", "411110..411119"),
    ColumnType.CURRENCY: ("EUR", "840", "JPY", "97"),
    ColumnType.CARD: ("1", "4294967295", "0017"),
    ColumnType.ACCOUNT: ("1", "4294967295"),
    ColumnType.MERCHANT: ("m0123456789abcdef", "mffffffffffffffff"),
    ColumnType.TERMINAL: ('"TERM0001"', '" A  B"', '"a # b"', '"when or"', '"T "'),
}
_ACTIONS = (
    "decline(59)",
    "decline(1A)",
    "step_up",
    "review",
    "tag seen.twice",
    "score +0.05",
    "score +0.1230",
    "allow(90m)",
    "allow(48h) overrides(R0)",
)
_FACTORS = ("2", "-1.5", "0.000000001", "10m", "-3h", "1d", "100.00", "1.2345", "0")
_EXTRAS = (
    "breaker default 05.50% of 1000\n",
    "breaker model 2 x 0.04% of 10000\n",
    'zone "Europe/Berlin"\n',
    "zone -05:30\n",
    "",
)
_GAPS = (" ", " ", " ", "  ", "\t", "\n", "\r\n", "\n\n\n", ' # a "remark"\n', "\n#own line\n")


def random_text(rng: random.Random) -> str:
    """Return the text of a rule file, which may or may not be one that is taken."""
    parts = [rng.choice(_EXTRAS)]
    names: dict[ColumnType, str] = {}
    for kind in rng.sample(list(_CONSTANTS), k=rng.randint(0, 4)):
        names[kind] = f"list_of.{kind.value}"
        values = rng.choices(_CONSTANTS[kind], k=rng.choice((0, 1, 3, 40)))
        parts.append(f"list {names[kind]} {kind.value} = {', '.join(values)}\n")
    for number in range(rng.randint(1, 3)):
        phase = rng.choice(("pre", "post"))
        mode = rng.choice(("", "active ", "shadow ", "off "))
        action = "review" if number == 0 else rng.choice(_ACTIONS)
        head = f'rule R{number} {phase} {mode}{action} "text # {number}" when '
        parts.append(head + _condition(rng, names, 2) + "\n")
    rng.shuffle(parts)
    return _spaced(rng, "".join(parts))


def _spaced(rng: random.Random, text: str) -> str:
    """Return ``text`` with other gaps between its words; texts in quotes stay."""
    pieces = text.split('"')
    for place in range(0, len(pieces), 2):
        words = pieces[place].split(" ")
        pieces[place] = "".join(w + rng.choice(_GAPS) for w in words[:-1]) + words[-1]
    return '"'.join(pieces)


def _condition(rng: random.Random, names: dict[ColumnType, str], depth: int) -> str:
    if depth == 0 or rng.random() < 0.4:
        return _comparison(rng, names)
    if rng.random() < 0.2:
        return f"not {_condition(rng, names, depth - 1)}"
    parts = [_condition(rng, names, depth - 1) for _ in range(rng.randint(1, 3))]
    text = rng.choice((" and ", " or ")).join(parts)
    return f"({text})" if rng.random() < 0.6 else text


def _comparison(rng: random.Random, names: dict[ColumnType, str]) -> str:
    column = rng.choice([c for c in COLUMNS if c.name != "score"])
    kind = column.type
    if kind is ColumnType.BOOL:
        return column.name + rng.choice(("", " == true", " != true", " == false"))
    constants = [text for text in _CONSTANTS[kind] if ".." not in text]
    choice = rng.randrange(5)
    if choice == 0 and kind in names:
        return f"{column.name} {rng.choice(('', 'not '))}in @{names[kind]}"
    if choice == 1:
        values = ", ".join(rng.choices(_CONSTANTS[kind], k=rng.randint(1, 4)))
        return f"{column.name} {rng.choice(('', 'not '))}in ({values})"
    symbol = rng.choice(("<", "<=", ">", ">=", "==", "!=") if kind in ORDERED else ("==", "!="))
    currency = rng.choice(("", "", " EUR")) if kind is ColumnType.AMOUNT else ""
    if choice == 2 and kind in ORDERED:
        return f"{column.name} between {constants[0]} and {rng.choice(constants)}{currency}"
    if choice > 2 and kind in COUNTED:
        left = column.name
        if rng.random() < 0.5:
            left += f" {rng.choice('+-*/')} {_sum(rng, kind, 1)}"
        return f"{left} {symbol} {_sum(rng, kind, 2)}"
    constant = rng.choice(constants)
    return f"{column.name} {symbol} {constant}{currency}"


def _sum(rng: random.Random, kind: ColumnType, depth: int) -> str:
    if depth == 0 or rng.random() < 0.3:
        near = [c.name for c in COLUMNS if c.type is kind and c.name != "score"]
        far = [c.name for c in COLUMNS if c.type in COUNTED and c.name != "score"]
        text = rng.choice((rng.choice(near), rng.choice(near), rng.choice(far), *_FACTORS[:4]))
        text = rng.choice((text, text, rng.choice(_FACTORS)))
    else:
        left, right = _sum(rng, kind, depth - 1), _sum(rng, kind, depth - 1)
        text = f"{left} {rng.choice('+-*/')} {right}"
    return f"({text})" if rng.random() < 0.35 else text
