"""The journal's two tables: one row a batch with its bytes, and one row that says where it ends.

``batch.bytes`` are those of the file store, page by page the same. ``head`` is the fence: a batch
goes in by one statement that moves this row on from the epoch, record number and head that the
writer believes in; where they do not hold it writes nothing. Whoever opens the journal raises the
epoch in it, after which the owner before can add nothing.
"""

SCHEMA = "de39"

EXISTS = "SELECT to_regclass('de39.head') IS NOT NULL"
CREATE = """
CREATE SCHEMA IF NOT EXISTS de39;
CREATE TABLE IF NOT EXISTS de39.head (
    partition int PRIMARY KEY,
    format int NOT NULL,
    cluster bytea NOT NULL,
    epoch bigint NOT NULL,       -- of the owner
    batch_no bigint NOT NULL,    -- of the next batch
    seq bigint NOT NULL,         -- of the next record
    last_epoch bigint NOT NULL,  -- of the batch before
    head bytea NOT NULL,         -- of the batch before
    writer bytea NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);        -- moved on by every batch: room for its new versions in the page
CREATE TABLE IF NOT EXISTS de39.batch (
    partition int NOT NULL,
    batch_no bigint NOT NULL,
    epoch bigint NOT NULL,
    first_seq bigint NOT NULL,
    record_count int NOT NULL,
    head bytea NOT NULL,
    bytes bytea NOT NULL,
    PRIMARY KEY (partition, batch_no)
);
ALTER TABLE de39.batch ALTER COLUMN bytes SET STORAGE EXTERNAL;  -- hashes do not compress
CREATE TABLE IF NOT EXISTS de39.flushed (partition int PRIMARY KEY, seq bigint NOT NULL)
    WITH (fillfactor = 10);
CREATE OR REPLACE FUNCTION de39.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only: % on %.% is refused',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON de39.batch
    FOR EACH STATEMENT EXECUTE FUNCTION de39.refuse_change();
"""

# $1 partition, $2 epoch, $3 next record, $4 head before, $5 number of the batch, $6 records,
# $7 head after, $8 bytes. Returns the number of the batch, or no row where the fence holds it off.
APPEND = """
WITH fence AS (
    UPDATE de39.head
    SET batch_no = $5::bigint + 1, seq = $3::bigint + $6::int, last_epoch = $2, head = $7
    WHERE partition = $1 AND epoch = $2 AND seq = $3 AND head = $4 AND batch_no = $5
    RETURNING partition
)
INSERT INTO de39.batch (partition, batch_no, epoch, first_seq, record_count, head, bytes)
SELECT partition, $5, $2, $3, $6, $7, $8 FROM fence
RETURNING batch_no
"""

FIELDS = "format, cluster, epoch, batch_no, seq, last_epoch, head"
READ_HEAD = f"SELECT {FIELDS} FROM de39.head WHERE partition = $1"
NEW_HEAD = """
INSERT INTO de39.head (partition, format, cluster, epoch, batch_no, seq, last_epoch, head, writer)
VALUES ($1, $2, $3, 0, 1, 1, 0, $4, $5) ON CONFLICT DO NOTHING
"""
TAKE_EPOCH = f"""
UPDATE de39.head SET epoch = epoch + 1, writer = $3, opened_at = now()
WHERE partition = $1 AND epoch = $2 RETURNING {FIELDS}
"""
# Moves nothing, and its commit is durable only after all commits before it are.
SETTLE = f"""
UPDATE de39.head SET epoch = epoch WHERE partition = $1 AND epoch = $2 RETURNING {FIELDS}
"""
# A commit that is durable only after the batches that were committed before it, without waiting for
# the row that the next batch moves. $2 is the record that comes after them; it says no more.
FLUSH = """
INSERT INTO de39.flushed (partition, seq) VALUES ($1, $2)
ON CONFLICT (partition) DO UPDATE SET seq = excluded.seq
"""
# The batch that holds the record $2 before the end, and what came before it.
TAIL_START = """
WITH wanted AS (
    SELECT greatest(seq - $2::bigint, 1) AS seq FROM de39.head WHERE partition = $1
), first AS (
    SELECT batch_no, first_seq FROM de39.batch, wanted
    WHERE partition = $1 AND first_seq <= wanted.seq ORDER BY batch_no DESC LIMIT 1
)
SELECT first.batch_no, first.first_seq, b.epoch AS before_epoch, b.head AS before_head
FROM first LEFT JOIN de39.batch b ON b.partition = $1 AND b.batch_no = first.batch_no - 1
"""
COPY_BATCHES = """
SELECT bytes FROM de39.batch WHERE partition = $1 AND batch_no >= $2 ORDER BY batch_no
"""
