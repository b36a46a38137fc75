"""The typed tree of a rule file: what the parser makes and the compiler reads.

Nodes are immutable and compare by meaning: positions are kept for messages only. Constants are
numbers already (a country is its ISO number), so a tree needs no names of values. The numbers of
Operator, Mode and ActionKind are compiled into the kernels.
"""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from engine.rules.columns import Column, ColumnType


class Phase(IntEnum):
    """When a rule is evaluated: before the score is known, or after."""

    PRE = 1
    POST = 2


class Mode(IntEnum):
    """Whether a rule acts, is only recorded, or is not evaluated."""

    OFF = 0
    SHADOW = 1
    ACTIVE = 2


class ActionKind(IntEnum):
    """What a rule asks for; also the ``action`` of a VERDICT, where NONE = nothing."""

    NONE = 0
    ALLOW = 1
    DECLINE = 2
    STEP_UP = 3
    REVIEW = 4
    SCORE = 5
    TAG = 6


OVERRIDABLE = frozenset({ActionKind.DECLINE, ActionKind.STEP_UP, ActionKind.REVIEW})


class Operator(IntEnum):
    """How a predicate compares. All are false for a missing value, NE and NOT_IN too."""

    LT = 0
    LE = 1
    GT = 2
    GE = 3
    EQ = 4
    NE = 5
    IN = 6
    NOT_IN = 7


SYMBOLS = {
    Operator.LT: "<",
    Operator.LE: "<=",
    Operator.GT: ">",
    Operator.GE: ">=",
    Operator.EQ: "==",
    Operator.NE: "!=",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in its file; both count from 1, 0 = not from a file."""

    line: int = 0
    column: int = 0


NOWHERE = Place()


@dataclass(frozen=True, slots=True)
class Compare:
    """``column op value``; op is not IN or NOT_IN. A bare bool column is ``column != 0``."""

    column: Column
    operator: Operator
    value: float
    place: Place = field(default=NOWHERE, compare=False, repr=False)
    currency: int = field(default=0, kw_only=True)  # of an amount: it must be in it; 0 = any


@dataclass(frozen=True, slots=True)
class Member:
    """``column in (values)`` or ``column in @list_name``; then ``values`` is empty."""

    column: Column
    is_negated: bool
    list_name: str
    values: tuple[float, ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Between:
    """``column between low and high``, both included."""

    column: Column
    low: float
    high: float
    place: Place = field(default=NOWHERE, compare=False, repr=False)
    currency: int = field(default=0, kw_only=True)


@dataclass(frozen=True, slots=True)
class Constant:
    """A number in a sum: plain, so that it takes the unit of its neighbours, or a duration."""

    value: float
    is_duration: bool = False  # written as one, like 10m; the value is seconds


@dataclass(frozen=True, slots=True)
class Reading:
    """The value of a column in a sum."""

    column: Column


@dataclass(frozen=True, slots=True)
class Binary:
    """``left symbol right``, one of ``+ - * /``; missing where a part is or it is not finite."""

    symbol: str
    left: "Sum"
    right: "Sum"


Sum: TypeAlias = Constant | Reading | Binary


@dataclass(frozen=True, slots=True)
class CompareSums:
    """``left op right`` where a side is computed or both read columns; op is not IN or NOT_IN."""

    left: Sum
    operator: Operator
    right: Sum
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Not:
    """True where ``item`` is false, a comparison with a missing value included."""

    item: "Expression"


@dataclass(frozen=True, slots=True)
class And:
    """All of at least two items."""

    items: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of at least two items."""

    items: tuple["Expression", ...]


Expression: TypeAlias = Compare | CompareSums | Member | Between | Not | And | Or


@dataclass(frozen=True, slots=True)
class Action:
    """What a rule asks for. Fields that its kind does not use keep their defaults."""

    kind: ActionKind
    response: str = ""  # DECLINE: the two characters of DE39
    ttl_s: int = 0  # ALLOW: how long a confirmation counts
    overrides: tuple[str, ...] = ()  # ALLOW: ids of the rules that it removes
    points_bp: int = 0  # SCORE: added to the score, 1/10,000
    tag: str = ""  # TAG


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as written."""

    name: str
    phase: Phase
    mode: Mode
    action: Action
    text: str
    when: Expression
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ValueList:
    """A named list of constants of one type, in the order written."""

    name: str
    type: ColumnType
    values: tuple[float, ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a rule falls to shadow by itself: past ``share_ppm`` of the last ``window`` payments.

    ``target`` is a rule's id, ``default`` for every rule that may refuse and has none of its own,
    or ``model`` for all that rules refuse by the score. ``times`` multiplies the share.
    """

    target: str
    share_ppm: int
    window: int
    times: int = 1
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def limit(self) -> int:
        """How many of ``window`` payments may be refused."""
        return self.share_ppm * self.times * self.window // 1_000_000


@dataclass(frozen=True, slots=True)
class RuleFile:
    """Lists, breakers and rules in file order.

    Cards without a zone of their own are in ``zone``, an IANA name, or ``zone_s`` ahead of UTC.
    """

    lists: tuple[ValueList, ...]
    rules: tuple[Rule, ...]
    file: str = field(default="", compare=False)
    breakers: tuple[Breaker, ...] = ()
    zone_s: int = 0
    zone: str = ""


def reads_list(node: Expression) -> bool:
    """Return whether the condition asks for membership of a named list anywhere."""
    if isinstance(node, And | Or):
        return any(reads_list(item) for item in node.items)
    if isinstance(node, Not):
        return reads_list(node.item)
    return isinstance(node, Member) and node.list_name != ""


def columns_of(node: Expression | Sum) -> frozenset[Column]:
    """Return the columns that the condition or sum reads."""
    if isinstance(node, And | Or):
        return frozenset().union(*(columns_of(item) for item in node.items))
    if isinstance(node, Not):
        return columns_of(node.item)
    if isinstance(node, CompareSums | Binary):
        return columns_of(node.left) | columns_of(node.right)
    if isinstance(node, Constant):
        return frozenset()
    return frozenset((node.column,))


def is_limit_target(rule: Rule) -> bool:
    """Return whether a breaker may watch the rule: it refuses payments."""
    return rule.action.kind in (ActionKind.DECLINE, ActionKind.STEP_UP)
