"""The language reference, docs/rules.md: made from the registry so that it cannot go stale.

Write it anew with ``python -m engine.rules.reference > docs/rules.md``.
"""

import sys

from engine.rules import limits
from engine.rules.columns import COLUMNS
from engine.rules.constants import ENTRIES

_GRAMMAR = """\
file       = { list | rule }
list       = "list" NAME type "=" [ constant { "," constant } ]
type       = "number" | "amount" | "country" | "entry" | "mcc" | "currency" | "card" | "account"
rule       = "rule" ID ( "pre" | "post" ) [ "active" | "shadow" | "off" ] action TEXT "when" any
action     = "decline" "(" CODE ")" | "step_up" | "review"
           | "allow" "(" TIME ")" [ "overrides" "(" ID { "," ID } ")" ]
           | "score" "+" NUMBER | "tag" NAME
any        = all { "or" all }
all        = one { "and" one }
one        = "not" one | "(" any ")" | comparison
comparison = COLUMN ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) constant
           | COLUMN "between" constant "and" constant
           | COLUMN [ "not" ] "in" ( "@" NAME | "(" constant { "," constant } ")" )
           | BOOL_COLUMN [ ( "==" | "!=" ) ( "true" | "false" ) ]
"""

_TEXT = """\
# Rules

A rule file holds lists and rules in any order. `#` starts a comment; line ends have no meaning.
`de39 rules check FILE` says what is wrong with a file, and where. This page is made by
`engine/rules/reference.py`.

```
list blocked_countries country = KP, IR
rule R03 pre decline(62) "blocked country"
    when country in @blocked_countries and not flag.travel_notice
```

## Grammar

```
{grammar}```

## When a rule runs and what it does

- `pre` rules run before the score is known, `post` rules after it and may read `score`. Within a
  phase every rule is evaluated and every hit is recorded, whatever decides in the end.
- `active` (the default) acts. `shadow` is evaluated and recorded, and never acts. `off` is not
  evaluated.
- After both phases one rule decides: `decline`, then `step_up`, then `review`, then `allow`; within
  an action the first in the file. An active `allow` that holds first removes the rules that it
  names in `overrides`, and no others. It cannot name a rule that declines by a list, and nothing
  overrides the status of a card or account, or a limit.

| action | effect |
| --- | --- |
| `decline(59)` | decline with this response code (DE39, two characters; not one that approves) |
| `step_up` | ask for stronger authentication: response code 1A |
| `review` | approve and open a case; the case is opened too when another rule declines |
| `allow(24h) overrides(R05)` | remove the named rules; the time (s, m, h, d) is kept for lists |
| `score +0.05` | `pre` only: add to the score before `post` rules read it, at most to 1 |
| `tag NAME` | only record the hit |

## Comparisons

- `not` binds closest, then `and`, then `or`.
- A value that is not known is missing. Every comparison with it is false, `!=` and `not in` too; so
  `not country in @home` holds for an unknown country, and `country not in @home` does not.
- Amounts are in major units of the payment's currency: `100.00`. Numbers, amounts and merchant
  category codes have an order; other types have `==`, `!=` and `in` only.
- Countries are written as ISO 3166-1 (`DE` or `276`), currencies as ISO 4217 (`EUR` or `978`),
  entry modes as {entries}.
- Cards and accounts are internal numbers. A card number (PAN) is refused.
- Counters that decay fall from the moment they are raised: four payments within a minute give a
  `count_1h` of a little under 4.

## Columns

| column | type | unit | meaning |
| --- | --- | --- | --- |
{columns}

## Bounds

{bounds}
"""

_BOUNDS = (
    ("rules", limits.RULES_MAX),
    ("conditions in a rule", limits.CONDITIONS_PER_RULE_MAX),
    ("alternatives of a rule when multiplied out (`or` inside `and`)", limits.TERMS_PER_RULE_MAX),
    ("alternatives of all rules", limits.TERMS_MAX),
    ("different comparisons of all rules", limits.PREDICATES_MAX),
    ("depth of parentheses and nots", limits.NESTING_MAX),
    ("values inside `in (...)`", limits.SET_VALUES_MAX),
    ("lists", limits.LISTS_MAX),
    ("values of all lists", limits.LIST_VALUES_MAX),
    ("characters of a name", limits.NAME_MAX),
    ("characters of a text", limits.TEXT_MAX),
    ("days of an allow", limits.TTL_MAX_S // 86_400),
    ("bytes of a file", limits.FILE_BYTES_MAX),
)


def page() -> str:
    """Return the text of docs/rules.md."""
    columns = "\n".join(
        f"| `{c.name}` | {c.type.value} | {c.unit} | {c.meaning} |"
        for c in sorted(COLUMNS, key=lambda column: column.name)
    )
    return _TEXT.format(
        grammar=_GRAMMAR,
        entries=", ".join(f"`{name}`" for name in ENTRIES),
        columns=columns,
        bounds="\n".join(f"- {name}: {bound:,}" for name, bound in _BOUNDS),
    )


if __name__ == "__main__":
    sys.stdout.write(page())
