"""Every fixed bound of the switch, with its reason; what an operator may choose is in config.

Past a bound the answer is a decline or back-pressure that is counted, never growth. The relations
between bounds are asserted here, so a change that breaks one does not start.
"""

KIB = 1024
MIB = 1024 * KIB

# --- frames ---
FRAME_BYTES_MIN = 12  # MTI and one bitmap in binary; less cannot be a message
FRAME_BYTES_MAX = 8 * KIB  # usual default of hosts; the largest legal 1987 message is smaller
LENGTH_HEADER_BYTES = 4  # the longest length header of a dialect

# --- one batch ---
BATCH_FRAMES_MAX = 4096  # about 8 ms of work: past it, more frames gain nothing and latency grows
ARENA_BYTES = 4 * MIB  # bytes of a batch: its frames at 1 KiB each; longer frames make it shorter
REPLY_BYTES_MAX = 2 * KIB  # an answer echoes a few fields of its request and adds 39, 38, 44
REPLY_ARENA_BYTES = 4 * MIB

# --- one link ---
LINK_READ_BYTES = 256 * KIB  # one read of a socket
LINK_PENDING_BYTES_MAX = 1 * MIB  # bytes that wait for a batch; past it the link is not read
WRITE_BUFFER_HIGH_BYTES = 1 * MIB  # answers a peer has not taken; past it the link is not read
WRITE_BUFFER_LOW_BYTES = 256 * KIB
WRITE_BUFFER_CLOSE_BYTES = 8 * MIB  # a peer that takes nothing while others fill: closed
CONNECTIONS_MAX = 4096  # a listener; an acquirer's host uses tens

# --- between stages ---
# A thread that works in Python hands over to the loop after it, not after 5 ms. Each batch gives
# the GIL away some ten times (kernels, sockets), so beside a thread that parses a rule file it
# takes 10 times as long at 200 us, 3 times at 20 us; the parsing takes a third longer.
GIL_TURN_S = 20e-6
BATCHES_IN_FLIGHT_MAX = 2  # one is being synced while the next is worked: self-clocking
COMMIT_QUEUE_MAX = 8
QUEUE_BYTES_MAX = 64 * MIB  # received bytes of all links: 400,000 messages, two seconds of work

# --- tables ---
CARDS_MAX = 50_000_000  # u32 row numbers would allow more; memory does not on one machine
ACCOUNTS_MAX = 50_000_000
MERCHANTS_MAX = 50_000_000
AUTHORIZATIONS_MAX = 100_000_000
CLEARINGS_MAX = 100_000_000  # 128 bytes each, index included
BINS_MAX = 1_000_000  # six digits

# --- rules and model ---
RULES_MAX = 2048  # 32 hit words a row: two in the ledger record, a blob for those beyond
TREES_MAX = 4096
TREE_DEPTH_MAX = 12

# --- holds ---
HOLD_LIFE_H_MAX = 44 * 24  # hours; what the wheel of ledger.deadlines holds, which compiles

# --- operators ---
HTTP_BODY_BYTES_MAX = 1 * MIB
LOG_QUEUE_MAX = 8192  # lines that wait for stderr; further ones are dropped and counted
IMPORT_ROWS_MAX = 20_000_000
IMPORT_LINE_BYTES_MAX = 4 * KIB  # eight short fields; longer is not such a file
REF_CHARACTERS_MAX = 64  # name of an account, customer or product

assert FRAME_BYTES_MIN < FRAME_BYTES_MAX <= 0xFFFF, "a two-byte length header holds any frame"
assert FRAME_BYTES_MAX + LENGTH_HEADER_BYTES <= LINK_READ_BYTES <= LINK_PENDING_BYTES_MAX
assert LINK_PENDING_BYTES_MAX <= ARENA_BYTES, "what one link may hold back fits one batch"
assert ARENA_BYTES < 2**31, "arena offsets are int32"
assert REPLY_ARENA_BYTES < 2**31
assert BATCH_FRAMES_MAX * KIB <= ARENA_BYTES, "a full batch of ordinary frames fits the arena"
assert REPLY_BYTES_MAX <= REPLY_ARENA_BYTES // 64
assert WRITE_BUFFER_LOW_BYTES < WRITE_BUFFER_HIGH_BYTES < WRITE_BUFFER_CLOSE_BYTES
assert BATCHES_IN_FLIGHT_MAX <= COMMIT_QUEUE_MAX
assert max(CARDS_MAX, ACCOUNTS_MAX, MERCHANTS_MAX, AUTHORIZATIONS_MAX) < 2**31
