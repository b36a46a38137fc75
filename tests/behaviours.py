"""The 64 behaviours of an authorization host, and which tests prove each.

A test says its numbers by its name (``test_behaviour_33_...``) or its ``pytest.mark.behaviour``.
``python -m tests.behaviours`` writes docs/behaviours.md again.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "behaviours.md"
TITLES = {
    1: "frames cut at any byte; several in one piece",
    2: "an impossible length closes that link and no other",
    3: "length zero is a keep-alive, bounded",
    4: "silence inside a frame closes; idle links are tested or closed",
    5: "a close between frames is ordinary, half-closed links get their answers",
    6: "requests of one link run together; order of answers",
    7: "an answer goes to its link; a posting outlives it",
    8: "a peer that does not read is held up, then closed",
    9: "bounds of connections, allowed networks, TLS and peers",
    10: "a graceful stop, with sign-off where wished",
    11: "a format error is answered with its field; the link stays",
    12: "what cannot be read, and answers, get no answer",
    13: "an unknown type is answered in its own type",
    14: "an empty second bitmap",
    15: "strict lengths and characters, never a desynchronised link",
    16: "encode(decode(x)) is x; agreement with another codec",
    17: "the card number from a track; both must agree",
    18: "unknown chip data is kept, cut chip data is a format error",
    19: "sign-on, sign-off, echo test",
    20: "sign-on demanded or not, by profile",
    21: "network notifications and key change",
    22: "sessions are apart; a reconnect starts signed off",
    23: "types of answers, repeats included",
    24: "fields that come back byte for byte; secrets never",
    25: "approval codes on approvals, unique; a response code always",
    26: "missing fields are refused, further ones passed over",
    27: "a code for each reason, the finer reason kept",
    28: "partial approval by profile",
    29: "balance inquiry and account check post nothing",
    30: "exponents of currencies, the largest amount",
    31: "an answer leaves only after its record is durable",
    32: "payments at the same moment never overspend",
    33: "a repeat gets the same bytes and no second posting",
    34: "a repeat while the first is in flight is one decision",
    35: "a repeat whose request never came is decided as new",
    36: "an identical request is a duplicate; with other facts refused",
    37: "the key of a message, its class included",
    38: "messages without a time of transmission",
    39: "a STAN that comes round again",
    40: "duplicates are known after a restart",
    41: "an advice is recorded and answered 00",
    42: "a repeated advice is posted once; one that replaces an authorization",
    43: "a completion captures and releases; one without original is posted",
    44: "no answer to an advice that cannot be stored",
    45: "a reversal releases the hold by an entry of its own",
    46: "a second reversal moves nothing",
    47: "a reversal without its original, by profile",
    48: "a reversal that overtakes its original",
    49: "reversal of a declined and of a captured payment",
    50: "partial reversal by DE95 or DE4",
    51: "how an original is found; amount and card agree",
    52: "0400 may be declined, 0420 not",
    53: "a deadline for each message, from its arrival",
    54: "past the deadline: not posted; past the commit: answered",
    55: "stand-in when the scorer is slow or fails, marked",
    56: "overload is refused fast; a share for advices and reversals",
    57: "messages of the host are kept, repeated, given up with an alert",
    58: "late and strange answers; a late approval is reversed",
    59: "message authentication",
    60: "PIN blocks; secrets nowhere",
    61: "chip cryptograms, and their replay",
    62: "metrics, and health that means it can commit",
    63: "reload without dropping links; a bad file changes nothing",
    64: "clock steps, leap days, the turn of a year",
}
_NAME = re.compile(r"test_behaviour_([0-9]{2})_")
_HEAD = """# Behaviours

What a network expects of an authorization host, by number, and the tests that prove each here.
Where a behaviour depends on a profile, both sides are tested. `de39 conformance` checks those that
can be seen from outside against any host ([conformance.md](conformance.md)).

This page is made from the tests by `python -m tests.behaviours`; a test says when it is behind.

| | behaviour | tests |
|---|---|---|
"""


def proofs() -> dict[int, dict[str, int]]:
    """Return how many tests of which file name each number."""
    found: dict[int, dict[str, int]] = {number: {} for number in TITLES}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        name = str(path.relative_to(ROOT))
        for number in _numbers(ast.parse(path.read_text(encoding="utf-8"))):
            assert number in TITLES, f"{name}: {number} is not one of the 64"
            found[number][name] = found[number].get(name, 0) + 1
    return found


def page() -> str:
    """Return the text of docs/behaviours.md."""
    rows = []
    for number, files in proofs().items():
        tests = ", ".join(f"`{name}`" for name in sorted(files)) or "none"
        rows.append(f"| {number} | {TITLES[number]} | {tests} |\n")
    return _HEAD + "".join(rows)


def _numbers(tree: ast.Module) -> Iterator[int]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        named = _NAME.match(node.name)
        if named is not None:
            yield int(named[1])
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and _is_mark(decorator.func):
                yield from (a.value for a in decorator.args if isinstance(a, ast.Constant))


def _is_mark(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr == "behaviour"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)} written\n")
