"""Bounds of a rule set, each with its reason. Past a bound the file is refused, never cut."""

RULES_MAX = 128  # a ledger record has 128 hit bits
PREDICATES_MAX = 1024  # 64 rows x 1,024 bits are 8 kB: the scratch of one batch stays in L1
TERMS_PER_RULE_MAX = 64  # a rule that needs more alternatives is better written as several
TERMS_MAX = 1024  # of all rules together; bounds the time of one row
CONDITIONS_PER_RULE_MAX = 128  # comparisons as written, before they are multiplied out
NESTING_MAX = 32  # parentheses and nots inside each other: bounds the parser's recursion
LISTS_MAX = 64
LIST_VALUES_MAX = 100_000  # of all lists together, 0.8 MB: 17 steps of a binary search
SET_VALUES_MAX = 64  # inside "in ( ... )"; more belong in a list
FILE_BYTES_MAX = 4 << 20  # a full set of lists with room for comments
NAME_MAX = 64  # characters of an id, list name or tag
TEXT_MAX = 120  # characters of the quoted text
TTL_MAX_S = 366 * 86_400
