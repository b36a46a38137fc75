"""The language reference, docs/rules.md: made from the registry so that it cannot go stale.

Write it anew with ``python -m engine.rules.reference > docs/rules.md``.
"""

import sys

from engine.rules import limits
from engine.rules.columns import COLUMNS, DERIVED_MAX
from engine.rules.constants import ENTRIES
from engine.zones import zone_table

_GRAMMAR = """\
file       = { list | rule | breaker | zone }
list       = "list" NAME type "=" [ constant { "," constant } ]
type       = "number" | "amount" | "duration" | "time" | "country" | "entry" | "mcc" | "bin"
           | "currency" | "card" | "account" | "merchant" | "terminal"
rule       = "rule" ID ( "pre" | "post" ) [ "active" | "shadow" | "off" ] action TEXT "when" any
action     = "decline" "(" CODE ")" | "step_up" | "review"
           | "allow" "(" TIME ")" [ "overrides" "(" ID { "," ID } ")" ]
           | "score" "+" NUMBER | "tag" NAME
breaker    = "breaker" ( ID | "default" | "model" ) [ TIMES "x" ] SHARE "%" "of" PAYMENTS
zone       = "zone" ( IANA_NAME | ( "+" | "-" ) HOURS ":" MINUTES )
any        = all { "or" all }
all        = one { "and" one }
one        = "not" one | "(" any ")" | comparison
comparison = COLUMN operator ( constant [ CURRENCY ] | sum )
           | COLUMN symbol sum-rest operator sum
           | COLUMN "between" constant "and" constant [ CURRENCY ]
           | COLUMN [ "not" ] "in" ( "@" NAME | "(" value { "," value } ")" )
           | BOOL_COLUMN [ ( "==" | "!=" ) ( "true" | "false" ) ]
operator   = "<" | "<=" | ">" | ">=" | "==" | "!="
value      = constant [ ".." constant ]
sum        = term { ( "+" | "-" ) term }
term       = factor { ( "*" | "/" ) factor }
factor     = COLUMN | NUMBER | "(" sum ")"
"""

_TEXT = """\
# Rules

A rule file holds lists, rules, breakers and a zone in any order. `#` starts a comment; line ends
have no meaning. `de39 rules check FILE` says what is wrong with a file, and where; `de39 rules fmt
FILE` writes it in its one form. From a fraud pattern to a promoted rule, with every command:
[rules-walkthrough.md](rules-walkthrough.md). This page is made by `engine/rules/reference.py`.

```
zone "Europe/Berlin"
breaker default 25% of 1000
list blocked_countries country = KP, IR
rule R03 pre decline(62) "blocked country"
    when country in @blocked_countries and not flag.travel_notice
rule R11 pre shadow step_up "far above habit, at night"
    when amount > 3 * mean_15d + 50.00 and time between 23:00 and 05:00
    and mcc in (5944, 7000..7999)
```

## Grammar

```
{grammar}```

`sum-rest` is what follows the first operand of a sum: a comparison begins with a column.

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
| `allow(24h) overrides(R05)` | remove the named rules; entries of its lists count for this long |
| `score +0.05` | `pre` only: add to the score before `post` rules read it, at most to 1 |
| `tag NAME` | only record the hit |

## Comparisons

- `not` binds closest, then `and`, then `or`.
- A value that is not known is missing. Every comparison with it is false, `!=` and `not in` too; so
  `not country in @home` holds for an unknown country, and `country not in @home` does not.
- Amounts are in major units of the payment's currency: `100.00`. Numbers, amounts and merchant
  category codes have an order; other types have `==`, `!=` and `in` only.
- An amount may name its currency, `amount >= 100.00 EUR`; then the payment must be in it, and the
  amount has no more decimals than that currency. `time between 22:00 and 06:00` goes past
  midnight. Durations are seconds, or `90s`, `10m`, `24h`.
- `time`, `local.hour` and `local.weekday` are those of the clocks where the card is at home, summer
  time included. A card has its IANA zone from when it was issued, imported or changed (`zone`); one
  without is in the zone that the file states: `zone "America/New_York"`, or a fixed `zone +01:00`,
  or UTC. The zones ship with the program ({zones}); a set that reads them is recorded with release
  and hash of the table, as is a start with another table. The scorer's `hour`, `weekday` and
  `night` are in UTC.
- Codes take ranges: `mcc in (5411, 7000..7999)`. Terminals stand in quotes, `"TERM0001"`; merchants
  by `m` and the 16 hex digits that an export shows.
- Arithmetic works on numbers, amounts and durations, and its units must fit: an amount plus an
  amount, an amount times a number, an amount over an amount, a duration over `1h`. A plain number
  takes the unit of its neighbour. What divides by zero or is not finite is missing. It is done in
  64-bit floating point, once for a row however many rules read it.
- Countries are written as ISO 3166-1 (`DE` or `276`), currencies as ISO 4217 (`EUR` or `978`),
  entry modes as {entries}.
- Cards and accounts are internal numbers. A card number (PAN) is refused.
- Counters that decay fall from the moment they are raised: four payments within a minute give a
  `count_1h` of a little under 4.

## Lists

A list holds what the file states, which never ends, and entries that come and go while serving
(`de39 rules list`, `/v1/lists`): each in the ledger with who and why, until its time is over or it
is removed. An entry that an `allow(24h)` reads counts for 24 hours from when it was added. A list
may be empty in the file. Entries of cards and accounts are internal numbers.

## While serving

- A set is put in force between two batches by `de39 rules apply`, `POST /v1/rules`, SIGHUP, or when
  the file has changed and stands still (`rules.watch_s`). Its record holds the whole text, so a
  journal explains itself. A set that does not compile changes nothing. With `rules.four_eyes`
  another operator approves it, who sees what it changes (`de39 rules show`): a set that comes over
  HTTP, a reload that is asked for there, and the promotion of a rule. To stop a rule takes one
  operator, at any time; SIGHUP and a watched file are the machine's owner's.
- At a start, and at a SIGHUP, the set of the last record stays in force with its modes, unless the
  configured file means something else than when it was taken last. `de39 rules reload` takes it
  in any case.
- `promote`, `demote` and `demote --off` change one rule from the next request on. A new set states
  all modes anew.
- What a rule costs one payment (`de39_rule_cost_seconds`, `cost_ns`) is an estimate, made beside
  the traffic when rules have changed and every ten minutes: the rule alone, over copies of recent
  payments in blocks of 64, less what the simplest rule costs. It is the most that the rule can add:
  columns that it shares with others count for each of them. `de39_rule_set_cost_seconds` is the
  same of all rules together; what the stage takes in truth is in `de39_stage_duration_seconds`.
- Hits, the last hit and precision of each rule (`de39 rules show`, `/metrics`) follow from the
  records, so a restart loses none: a snapshot holds them and what comes after is counted while it
  is read. They begin anew when a rule gets another action or mode. A label counts for the rules
  that held on its payment, by the names of the last sixteen sets.
- `snooze` keeps a rule from acting on one card for a time; its hits are still recorded.
- A breaker looks after each 256th record. It puts a rule into shadow when it has refused more than
  its share of the last payments (between a half and a whole window); `default` is for each rule
  that refuses and has none of its own, `model` for all refusals by rules that read the score.
  `7 x 0.04% of 10000` is seven times what a backtest found. The file that ships states an eighth of
  the last five thousand for both, so a rule that declines everything is in shadow within 1,000
  payments; `25% of 1000` makes that 500 and takes a sixth of the speed of full batches, `12.5% of
  10000` makes that 1,600 and gives a twentieth back. The trip is
  a record of its own, a line at level error and a counter. The same messages trip it at the same
  record in any batches.

## Columns

| column | type | unit | meaning |
| --- | --- | --- | --- |
{columns}

## Bounds

{bounds}
"""

_BOUNDS = (
    ("rules", limits.RULES_MAX),
    ("rules with a hit bit in the record (hits beyond stand beside it)", limits.RECORD_RULES),
    ("different sums", DERIVED_MAX),
    ("columns, numbers and operations of one side of a comparison", limits.SUM_STEPS_MAX),
    ("parentheses inside each other in a sum", limits.SUM_DEPTH_MAX),
    ("conditions in a rule", limits.CONDITIONS_PER_RULE_MAX),
    ("alternatives of a rule when multiplied out (`or` inside `and`)", limits.TERMS_PER_RULE_MAX),
    ("alternatives of all rules", limits.TERMS_MAX),
    ("different comparisons of all rules", limits.PREDICATES_MAX),
    ("depth of parentheses and nots", limits.NESTING_MAX),
    ("values inside `in (...)`", limits.SET_VALUES_MAX),
    ("values of all such sets, each code of a range counted", limits.SETS_VALUES_MAX),
    ("lists", limits.LISTS_MAX),
    ("values of all lists in the file", limits.LIST_VALUES_MAX),
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
        zones=f"IANA {zone_table().release}",
        columns=columns,
        bounds="\n".join(f"- {name}: {bound:,}" for name, bound in _BOUNDS),
    )


if __name__ == "__main__":
    sys.stdout.write(page())
