"""Bounds of a rule set, each with its reason. Past a bound the file is refused, never cut."""

RULES_MAX = 2048  # 32 hit words a row; a record has two of them, a blob names the hits beyond
RECORD_RULES = 128  # rules whose hits are bits of the record itself
PREDICATES_MAX = 8192  # 64 rows x 8,192 bits are 64 kB: the scratch of a block stays in L2
TERMS_PER_RULE_MAX = 64  # a rule that needs more alternatives is better written as several
TERMS_MAX = 8192  # of all rules together; bounds the time of one row
CONDITIONS_PER_RULE_MAX = 128  # comparisons as written, before they are multiplied out
NESTING_MAX = 32  # parentheses and nots inside each other: bounds the parser's recursion
LISTS_MAX = 64
LIST_VALUES_MAX = 100_000  # of all lists together, 0.8 MB: 17 steps of a binary search
SET_VALUES_MAX = 64  # inside "in ( ... )"; more belong in a list
SETS_VALUES_MAX = 250_000  # of all such sets: a range of codes is short to write, its codes are not
FILE_BYTES_MAX = 4 << 20  # a full set of lists with room for comments
NAME_MAX = 64  # characters of an id, list name or tag
TEXT_MAX = 120  # characters of the quoted text
TTL_MAX_S = 366 * 86_400
SUM_STEPS_MAX = 32  # columns, numbers and operations of one side of a comparison
SUM_DEPTH_MAX = 8  # parentheses of a sum: the evaluator's stack holds as many values and one more
BREAKER_WINDOW_MIN = 256  # payments: the breaker looks once in as many records
BREAKER_WINDOW_MAX = 1_000_000
