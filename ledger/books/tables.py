"""The books in SQL: tables that only grow, the roles that may use them, views for accountants.

``posting`` holds one row a posting, Dr ``debit`` / Cr ``credit``, never empty; ``event`` one row a
ledger record. ``watermark`` says up to which record both are complete; it moves in the transaction
that inserts, so each record is in the books once or not yet. Internal numbers only: names and card
numbers are in the vault.
"""

from ledger.lifecycle import Fin, Memo
from ledger.record import Kind

SCHEMA = "de39_books"
WRITER = "de39_books_writer"
READER = "de39_books_reader"
FORMAT = 1

_CREDIT_NORMAL = {Memo.OTB, Memo.HOLD, Memo.USED, Fin.CUST_CREDIT, Fin.UNALLOC, Fin.NET_SETTLE}
_PLAIN_MEMO = [code for code in Memo if code not in (Memo.SPEND, Memo.FREE)]
_PLAIN_FIN = [code for code in Fin if code is not Fin.RECEIVABLE]


def _account_values() -> str:
    rows = [
        f"({int(code)}, '{code.name}', '{'memo' if isinstance(code, Memo) else 'financial'}', "
        f"'{'credit' if code in _CREDIT_NORMAL else 'debit'}')"
        for code in (*_PLAIN_MEMO, *_PLAIN_FIN)
    ]
    return ",\n    ".join(rows)


def _kind_values() -> str:
    return ",\n    ".join(f"({int(kind)}, '{kind.name.lower()}')" for kind in Kind)


EXISTS = f"SELECT to_regclass('{SCHEMA}.watermark') IS NOT NULL"
CREATE = f"""
CREATE SCHEMA {SCHEMA};
CREATE TABLE {SCHEMA}.ledger_account (
    code smallint PRIMARY KEY,
    name text NOT NULL,
    book text NOT NULL,
    normal_side text NOT NULL
);
CREATE TABLE {SCHEMA}.event_kind (kind smallint PRIMARY KEY, name text NOT NULL);
CREATE TABLE {SCHEMA}.watermark (
    partition int PRIMARY KEY,
    format int NOT NULL,
    cluster bytea NOT NULL,
    seq bigint NOT NULL,         -- the last record in the books
    position jsonb NOT NULL,     -- where the journal is read on
    moved_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 10);
CREATE TABLE {SCHEMA}.account (
    account int PRIMARY KEY,
    opened_seq bigint NOT NULL,
    customer bigint NOT NULL,
    product smallint NOT NULL,
    currency smallint NOT NULL   -- ISO 4217 number
);
CREATE TABLE {SCHEMA}.event (
    seq bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    kind smallint NOT NULL,
    result smallint NOT NULL,    -- 0 approved, 2 checked, from 101 on why it was declined
    response character(2) NOT NULL,
    account int NOT NULL,
    card int NOT NULL,
    auth_seq bigint NOT NULL,    -- the authorization it is about: its own number if none before
    ref_seq bigint NOT NULL,
    amount_minor bigint NOT NULL,
    amount2_minor bigint NOT NULL,
    currency smallint NOT NULL,
    otb_after_minor bigint NOT NULL,
    hold_after_minor bigint NOT NULL,
    hold_life_h int NOT NULL,
    rrn character(12) NOT NULL,
    stan int NOT NULL,
    mcc int NOT NULL,
    merchant bigint NOT NULL,
    terminal character(8) NOT NULL,
    acquirer bigint NOT NULL,
    score int NOT NULL,
    flags bigint NOT NULL
);
CREATE TABLE {SCHEMA}.posting (
    seq bigint NOT NULL,
    line smallint NOT NULL,
    account int NOT NULL,
    currency smallint NOT NULL,
    auth_seq bigint NOT NULL,
    debit smallint NOT NULL,
    credit smallint NOT NULL CHECK (credit <> debit),
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    scheme int NOT NULL,
    settled date NOT NULL,
    PRIMARY KEY (seq, line)
);
CREATE INDEX posting_of_account ON {SCHEMA}.posting (account, seq);
CREATE FUNCTION {SCHEMA}.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the books are append-only: % on %.% is refused',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
END $$;
"""
# Run at each opening: a newer program knows more of them.
NAMES = f"""
INSERT INTO {SCHEMA}.ledger_account VALUES
    {_account_values()} ON CONFLICT DO NOTHING;
INSERT INTO {SCHEMA}.event_kind VALUES
    {_kind_values()} ON CONFLICT DO NOTHING;
"""
APPEND_ONLY = ("account", "event", "posting", "ledger_account", "event_kind")
TRIGGERS = "\n".join(
    f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {SCHEMA}.{table} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.refuse_change();"
    for table in APPEND_ONLY
)
# The owner makes the two roles if it may; an administrator makes them otherwise.
ROLES = f"""
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{WRITER}') THEN
        CREATE ROLE {WRITER} NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{READER}') THEN
        CREATE ROLE {READER} NOLOGIN;
    END IF;
    GRANT {WRITER} TO CURRENT_USER;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE NOTICE 'roles {WRITER} and {READER} are not made: no right to';
END $$;
"""
GRANTS = f"""
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{WRITER}') THEN
        GRANT USAGE ON SCHEMA {SCHEMA} TO {WRITER}, {READER};
        GRANT SELECT ON ALL TABLES IN SCHEMA {SCHEMA} TO {WRITER}, {READER};
        GRANT INSERT ON {SCHEMA}.account, {SCHEMA}.event, {SCHEMA}.posting, {SCHEMA}.watermark,
            {SCHEMA}.ledger_account, {SCHEMA}.event_kind TO {WRITER};
        GRANT UPDATE ON {SCHEMA}.watermark TO {WRITER};
    END IF;
END $$;
"""
CAN_BE_WRITER = f"""
SELECT coalesce((SELECT pg_has_role(oid, 'MEMBER') FROM pg_roles WHERE rolname = '{WRITER}'), false)
"""
SET_WRITER = f"SET ROLE {WRITER}"

READ_WATERMARK = f"""
SELECT format, cluster, seq, position FROM {SCHEMA}.watermark WHERE partition = $1
"""
FIRST_WATERMARK = f"""
INSERT INTO {SCHEMA}.watermark (partition, format, cluster, seq, position)
VALUES ($1, {FORMAT}, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING seq
"""
MOVE_WATERMARK = f"""
UPDATE {SCHEMA}.watermark SET seq = $3, position = $4, moved_at = clock_timestamp()
WHERE partition = $1 AND seq = $2 RETURNING seq
"""
BALANCES = f"""
SELECT account, code, sum(change)::bigint AS balance FROM (
    SELECT account, debit AS code, amount_minor AS change FROM {SCHEMA}.posting
    UNION ALL
    SELECT account, credit, -amount_minor FROM {SCHEMA}.posting
) AS side GROUP BY account, code
"""
AUTHORIZATIONS = f"SELECT seq, auth_seq FROM {SCHEMA}.event WHERE seq = ANY($1::bigint[])"
CURRENCIES = f"SELECT account, currency FROM {SCHEMA}.account"
HOLDS = f"""
SELECT auth_seq, account, held_minor FROM {SCHEMA}.open_holds
"""
IMBALANCES = f"SELECT book, currency, difference FROM {SCHEMA}.trial_balance_check"
