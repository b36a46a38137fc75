"""The views of the books that an accountant reads; amounts are whole minor units."""

from ledger.books.tables import SCHEMA
from ledger.lifecycle import Fin, Memo

_HOLD, _USED, _OTB, _OVER = int(Memo.HOLD), int(Memo.USED), int(Memo.OTB), int(Memo.OVER)
_NET = int(Fin.NET_SETTLE)


def _moved(code: int) -> str:
    """Return SQL of how a posting moves a credit-normal account."""
    return (
        f"(CASE WHEN p.credit = {code} THEN p.amount_minor ELSE 0 END"
        f" - CASE WHEN p.debit = {code} THEN p.amount_minor ELSE 0 END)"
    )


CREATE = f"""
-- Both sides of every posting, one row a side.
CREATE VIEW {SCHEMA}.entry AS
SELECT p.seq, p.line, e.at, p.account, p.currency, a.book, a.name AS ledger_account, s.side,
       p.amount_minor, p.auth_seq, p.scheme, p.settled
FROM {SCHEMA}.posting p
JOIN {SCHEMA}.event e USING (seq)
CROSS JOIN LATERAL (VALUES ('debit', p.debit), ('credit', p.credit)) AS s (side, code)
JOIN {SCHEMA}.ledger_account a ON a.code = s.code;

CREATE VIEW {SCHEMA}.trial_balance AS
SELECT a.book, side.currency, a.name AS ledger_account, a.normal_side,
       sum(side.debit)::bigint AS debit_minor, sum(side.credit)::bigint AS credit_minor,
       (CASE a.normal_side WHEN 'debit' THEN 1 ELSE -1 END
        * (sum(side.debit) - sum(side.credit)))::bigint AS balance_minor
FROM (
    SELECT debit AS code, currency, sum(amount_minor) AS debit, 0 AS credit
    FROM {SCHEMA}.posting GROUP BY debit, currency
    UNION ALL
    SELECT credit, currency, 0, sum(amount_minor) FROM {SCHEMA}.posting GROUP BY credit, currency
) AS side JOIN {SCHEMA}.ledger_account a USING (code)
GROUP BY a.book, side.currency, a.name, a.normal_side, a.code
ORDER BY side.currency, a.code;

-- Debits less credits of each book in each currency: zero in every row, or the books are wrong.
CREATE VIEW {SCHEMA}.trial_balance_check AS
SELECT book, currency, (sum(debit_minor) - sum(credit_minor))::bigint AS difference
FROM {SCHEMA}.trial_balance GROUP BY book, currency ORDER BY currency, book;

CREATE VIEW {SCHEMA}.open_holds AS
SELECT held.auth_seq, held.account, held.currency, held.held_minor, e.at AS authorized_at,
       e.at + e.hold_life_h * interval '1 hour' AS expires_at, e.card, e.rrn, e.stan, e.mcc,
       e.merchant, e.terminal
FROM (
    SELECT p.auth_seq, p.account, p.currency, sum({_moved(_HOLD)})::bigint AS held_minor
    FROM {SCHEMA}.posting p WHERE {_HOLD} IN (p.debit, p.credit)
    GROUP BY p.auth_seq, p.account, p.currency
) AS held LEFT JOIN {SCHEMA}.event e ON e.seq = held.auth_seq
WHERE held.held_minor <> 0;

-- Every authorization with what became of it.
CREATE VIEW {SCHEMA}.authorization_state AS
SELECT e.seq AS auth_seq, e.at, k.name AS kind, e.account, e.card, e.currency, e.amount_minor,
       e.response, e.rrn, e.stan, e.mcc, e.merchant, e.terminal,
       coalesce(m.held_minor, 0) AS held_minor, coalesce(m.cleared_minor, 0) AS cleared_minor,
       CASE WHEN e.result >= 100 THEN 'declined'
            WHEN coalesce(m.held_minor, 0) > 0 THEN 'open'
            WHEN coalesce(m.cleared_minor, 0) > 0 THEN 'cleared'
            WHEN e.amount_minor = 0 THEN 'checked'
            ELSE 'released' END AS state
FROM {SCHEMA}.event e JOIN {SCHEMA}.event_kind k USING (kind)
LEFT JOIN LATERAL (
    SELECT sum({_moved(_HOLD)})::bigint AS held_minor, sum({_moved(_USED)})::bigint AS cleared_minor
    FROM {SCHEMA}.posting p WHERE p.account = e.account AND p.auth_seq = e.seq
) AS m ON true
WHERE e.auth_seq = e.seq AND e.kind < 32 AND e.card <> 0;

-- What each event did to what its customer owes and may spend, with balances after it.
CREATE VIEW {SCHEMA}.account_statement AS
SELECT move.account, move.currency, move.seq, e.at, k.name AS event, e.rrn, e.mcc, e.merchant,
       move.used_minor, move.held_minor, move.open_to_buy_minor,
       sum(move.used_minor) OVER upto AS used_after_minor,
       sum(move.held_minor) OVER upto AS held_after_minor,
       sum(move.open_to_buy_minor) OVER upto AS open_to_buy_after_minor
FROM (
    SELECT p.account, p.currency, p.seq, sum({_moved(_USED)})::bigint AS used_minor,
           sum({_moved(_HOLD)})::bigint AS held_minor,
           sum({_moved(_OTB)} + {_moved(_OVER)})::bigint AS open_to_buy_minor
    FROM {SCHEMA}.posting p GROUP BY p.account, p.currency, p.seq
) AS move JOIN {SCHEMA}.event e USING (seq) JOIN {SCHEMA}.event_kind k USING (kind)
WINDOW upto AS (PARTITION BY move.account ORDER BY move.seq);

-- What is due to each scheme for each day; above zero, we owe it.
CREATE VIEW {SCHEMA}.settlement AS
SELECT p.scheme, p.settled, p.currency, count(*) AS postings,
       sum(CASE WHEN p.credit = {_NET} THEN p.amount_minor ELSE 0 END)::bigint AS presented_minor,
       sum(CASE WHEN p.debit = {_NET} THEN p.amount_minor ELSE 0 END)::bigint AS returned_minor,
       sum({_moved(_NET)})::bigint AS due_minor
FROM {SCHEMA}.posting p WHERE {_NET} IN (p.debit, p.credit)
GROUP BY p.scheme, p.settled, p.currency ORDER BY p.settled, p.scheme, p.currency;

CREATE VIEW {SCHEMA}.balances AS
SELECT account, currency,
       sum({_moved(_OTB)})::bigint AS open_to_buy_minor,
       sum({_moved(_HOLD)})::bigint AS held_minor,
       sum({_moved(_USED)})::bigint AS used_minor
FROM {SCHEMA}.posting p GROUP BY account, currency;
"""
