"""The journal's tables: one row a batch with its bytes, and one row that says where it ends.

``batch.bytes`` are those of the file store, page by page the same. ``head`` is the fence: a batch
goes in by one statement that moves this row on from the epoch, record number and head that the
writer believes in; where they do not hold it writes nothing. Whoever opens the journal raises the
epoch in it, after which the owner before can add nothing. ``archived`` says where the journal
begins once older batches are in an archive; only those before it can be removed.
"""

SCHEMA = "de39"

EXISTS = "SELECT to_regclass('de39.head') IS NOT NULL"
EXIST = """
SELECT to_regclass('de39.head') IS NOT NULL AS head,
    to_regclass('de39.archived') IS NOT NULL AS mark
"""
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
CREATE TABLE IF NOT EXISTS de39.archived (
    partition int PRIMARY KEY,
    segment bigint NOT NULL,     -- number of the segment file that comes next
    batch_no bigint NOT NULL,    -- of the first batch that is here
    seq bigint NOT NULL,         -- of its first record
    epoch bigint NOT NULL,       -- of the batch before
    head bytea NOT NULL          -- of the batch before
);
CREATE OR REPLACE FUNCTION de39.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the journal is append-only: % on %.% is refused',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
END $$;
CREATE OR REPLACE FUNCTION de39.refuse_unarchived() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM de39.archived a
               WHERE a.partition = OLD.partition AND OLD.batch_no < a.batch_no) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the journal is append-only: DELETE of batch % is refused', OLD.batch_no;
END $$;
CREATE OR REPLACE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON de39.batch
    FOR EACH STATEMENT EXECUTE FUNCTION de39.refuse_change();
CREATE OR REPLACE TRIGGER only_archived BEFORE DELETE ON de39.batch
    FOR EACH ROW EXECUTE FUNCTION de39.refuse_unarchived();
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
# What is read until the connection is dropped is one moment of the database.
ONE_MOMENT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
READ_MARK = "SELECT segment, batch_no, seq, epoch, head FROM de39.archived WHERE partition = $1"
_ROWS = """
SELECT batch_no, epoch, first_seq, record_count, head, bytes FROM de39.batch
WHERE partition = $1 AND batch_no >= $2 ORDER BY batch_no
"""
COPY_BATCHES = _ROWS
ROWS = f"{_ROWS} LIMIT $3"
HEADER = "SELECT substr(bytes, 1, 256) FROM de39.batch WHERE partition = $1 AND batch_no = $2"
SIZES = """
SELECT count(*) AS batches, coalesce(sum(octet_length(bytes)), 0)::bigint AS size
FROM de39.batch WHERE partition = $1
"""
# The first batch from $2 to $3 that does not fit into $4 bytes with those before it; their bytes.
PIECE_END = """
SELECT batch_no, total - size AS size FROM (
    SELECT batch_no, octet_length(bytes) AS size,
        sum(octet_length(bytes)) OVER (ORDER BY batch_no) AS total
    FROM de39.batch WHERE partition = $1 AND batch_no BETWEEN $2 AND $3
) AS sized WHERE total > $4 AND batch_no > $2 ORDER BY batch_no LIMIT 1
"""
# Only from the batch $7 on, where the journal began: of two that archive, one succeeds.
MOVE_MARK = """
INSERT INTO de39.archived AS a (partition, segment, batch_no, seq, epoch, head)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (partition) DO UPDATE SET segment = excluded.segment, batch_no = excluded.batch_no,
    seq = excluded.seq, epoch = excluded.epoch, head = excluded.head
WHERE a.batch_no = $7 RETURNING batch_no
"""
REMOVE = "DELETE FROM de39.batch WHERE partition = $1 AND batch_no < $2"
# A journal that is loaded whole: its head row goes in first, so of two that try one succeeds.
LOADED_HEAD = """
INSERT INTO de39.head (partition, format, cluster, epoch, batch_no, seq, last_epoch, head, writer)
VALUES ($1, $2, $3, $4, $5, $6, $4, $7, $8) ON CONFLICT DO NOTHING RETURNING partition
"""
LOADED_MARK = """
INSERT INTO de39.archived (partition, segment, batch_no, seq, epoch, head)
VALUES ($1, $2, $3, $4, $5, $6)
"""
COLUMNS = ("partition", "batch_no", "epoch", "first_seq", "record_count", "head", "bytes")
