"""Verify a receipt, a consistency proof or a whole journal of de39, offline and without de39.

    python verify_receipt.py receipt FILE --key verifier [--witness KEY ...]
    python verify_receipt.py consistency FILE --key verifier
    python verify_receipt.py journal FOLDER [--head HEX] [--key verifier]

One file, the standard library and ``cryptography`` for Ed25519; it shares no code with the engine,
so that a mistake there is not repeated here. ``--key`` takes the line of ``proof/verifier`` or a
file that holds it: get it from its owner, not from whoever hands you the receipt. Exit code 0 =
verified, 1 = not. Formats are those of docs/ledger.md; trees RFC 6962; checkpoints C2SP signed
notes.
"""

import argparse
import base64
import binascii
import hashlib
import json
import re
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

RECORD = struct.Struct("<5QIBBH4q5Qq8I2H2I8HI")
RECORD_FIELDS = re.findall(
    r"\w+",
    "id_hi id_lo seq ts_ns ref_seq customer product entry_class hold_life_h amount_minor "
    "amount2_minor otb_after_minor hold_after_minor merchant terminal rrn_a hits_lo hits_hi "
    "acquirer rrn_b stan transmitted account card flags rules_version model_version expiry_yymm "
    "status reasons pcode kind result response currency mcc country score entry_mode bin",
)
HEADER_FIELDS = re.findall(
    r"\w+",
    "magic version partition record_bytes flags cluster epoch batch_no first_seq ts_ns "
    "record_count blob_count body_bytes blob_bytes prev_head body_hash writer crc",
)
HEADER = struct.Struct("<8sHHHH16s4Q4I32s32s16s92xI")
SEGMENT = struct.Struct("<8sHHI16s16s5Q32s132xI")
BATCH_MAGIC, SEGMENT_MAGIC = b"DE39bat\x01", b"DE39seg\x01"
END_MARK = b"\xe3\x9aDE39/\xe3"
PAGE = 4096


class Refused(Exception):  # noqa: N818 - what happened to the proof
    """The proof does not hold; the text says where."""


def sha256(data: bytes) -> bytes:
    """Return SHA-256."""
    return hashlib.sha256(data).digest()


def leaf(data: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\0" + data)


def node(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node."""
    return sha256(b"\1" + left + right)


def climb(value: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """Return the root that ``path`` leads to from leaf hash ``value`` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        raise Refused(f"leaf {index} is not in a tree of {size}")
    first, last = index, size - 1
    for step in path:
        if last == 0:
            raise Refused("the path is too long")
        if first & 1 or first == last:
            value = node(step, value)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            value = node(value, step)
        first, last = first >> 1, last >> 1
    if last:
        raise Refused("the path is too short")
    return value


def grown(old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> None:
    """Check that the tree of ``new`` leaves begins with the one of ``old`` (RFC 9162, 2.1.4.2)."""
    if old == new:
        if path or old_root != new_root:
            raise Refused("two checkpoints of one size differ")
        return
    if not 0 < old < new or not path:
        raise Refused("the sizes or the path cannot be")
    steps = [old_root, *path] if old & (old - 1) == 0 else list(path)
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    was = now = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise Refused("the path is too long")
        if first & 1 or first == last:
            was, now = node(step, was), node(step, now)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            now = node(now, step)
        first, last = first >> 1, last >> 1
    if last or was != old_root or now != new_root:
        raise Refused("the newer checkpoint does not begin with the older one")


def unbase64(text: str) -> bytes:
    """Return the bytes of canonical base64."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Refused("bad base64") from None
    if base64.b64encode(raw).decode() != text:
        raise Refused("base64 that is not canonical")
    return raw


def checkpoint(note: str, key: str) -> tuple[str, int, bytes]:
    """Return (origin, size, root) of a note that ``key`` (name+hash+base64) signed or cosigned."""
    text, _, signatures = note.partition("\n\n")
    name, _, rest = key.partition("+")
    hash_hex, _, encoded = rest.partition("+")
    public = unbase64(encoded)
    kind = public[:1]
    if kind not in (b"\x01", b"\x04") or len(public) != 33:
        raise Refused("the key is no Ed25519 key")
    if sha256(name.encode() + b"\n" + public)[:4].hex() != hash_hex:
        raise Refused("the key's hash does not fit its name and bytes")
    lines = signatures.split("\n")
    if lines.pop() != "":
        raise Refused("the checkpoint does not end with a line")
    for line in lines:
        dash, _, tail = line.partition(" ")
        signer, _, signature = tail.partition(" ")
        raw = unbase64(signature)
        if dash != "\u2014":
            raise Refused("a line of the checkpoint is no signature")
        if signer == name and raw[:4].hex() == hash_hex:
            message = text + "\n"
            raw = raw[4:]
            if kind == b"\x04":
                message = f"cosignature/v1\ntime {int.from_bytes(raw[:8], 'big')}\n{message}"
                raw = raw[8:]
            try:
                Ed25519PublicKey.from_public_bytes(public[1:]).verify(raw, message.encode())
            except InvalidSignature:
                raise Refused(f"the signature of {name} does not hold") from None
            return stated(text)
    raise Refused(f"the checkpoint is not signed by {name}")


def stated(text: str) -> tuple[str, int, bytes]:
    """Return (origin, size, root) of a checkpoint's text."""
    lines = text.split("\n")
    if len(lines) < 3 or not lines[1].isdigit():
        raise Refused("the checkpoint states no size")
    root = unbase64(lines[2])
    if len(root) != 32:
        raise Refused("the checkpoint states no root")
    return lines[0], int(lines[1]), root


def load(path: Path, wanted: str, fields: set[str]) -> dict:
    """Return a proof file's content; its bytes must be the one canonical form."""
    raw = path.read_bytes()
    try:
        proof = json.loads(raw.decode())
    except ValueError:
        raise Refused("not a JSON file") from None
    if not isinstance(proof, dict) or proof.get("format") != wanted:
        raise Refused(f"not of format {wanted}")
    if set(proof) != fields | {"format"}:
        raise Refused(f"expected exactly the fields {sorted(fields)}")
    text = json.dumps(proof, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if text.encode() != raw:
        raise Refused("not in canonical form")
    return proof


def unhex(text: str, size: int) -> bytes:
    """Return ``size`` bytes of lower-case hex."""
    try:
        raw = bytes.fromhex(text)
    except (ValueError, TypeError):
        raise Refused("bad hex") from None
    if raw.hex() != text or len(raw) != size:
        raise Refused(f"expected {size} bytes of lower-case hex")
    return raw


def parse_header(raw: bytes) -> dict:
    """Return the fields of a batch header."""
    header = dict(zip(HEADER_FIELDS, HEADER.unpack(raw), strict=True))
    if header["magic"] != BATCH_MAGIC or header["version"] != 1 or header["record_bytes"] != 192:
        raise Refused("not a batch header of version 1")
    if header["crc"] != zlib.crc32(raw[:252]):
        raise Refused("batch header checksum")
    return header


def parse_record(raw: bytes) -> dict:
    """Return the fields of a record by name; the RRN as text."""
    record = dict(zip(RECORD_FIELDS, RECORD.unpack(raw), strict=True))
    rrn = record["rrn_a"].to_bytes(8, "little") + record["rrn_b"].to_bytes(4, "little")
    record["rrn"] = rrn.decode("ascii", "replace").strip("\0")
    record["response"] = record["response"].to_bytes(2, "little").decode("ascii", "replace")
    return record


def verify_receipt(path: Path, key: str, witnesses: list[str]) -> dict:
    """Verify a receipt; return the record and what vouches for it."""
    fields = {"record", "record_path", "header", "batch_path", "checkpoint"}
    proof = load(path, "de39-receipt/1", fields)
    raw = unhex(proof["record"], RECORD.size)
    header_raw = unhex(proof["header"], HEADER.size)
    header, record = parse_header(header_raw), parse_record(raw)
    index = record["seq"] - header["first_seq"]
    record_root = climb(
        leaf(raw), index, header["record_count"], [unhex(h, 32) for h in proof["record_path"]]
    )
    entry = sha256(header_raw) + record_root
    root = climb(
        leaf(entry),
        header["batch_no"] - 1,
        checkpoint(proof["checkpoint"], key)[1],
        [unhex(h, 32) for h in proof["batch_path"]],
    )
    origin, size, wanted = checkpoint(proof["checkpoint"], key)
    for witness in witnesses:
        checkpoint(proof["checkpoint"], witness)
    if root != wanted:
        raise Refused("the record does not lead to the root of the checkpoint")
    if origin != f"de39.ledger/{header['cluster'].hex()}/{header['partition']}":
        raise Refused("the checkpoint is of another ledger than the batch")
    facts = {"origin": origin, "batches": size, "batch": header["batch_no"]}
    return {**facts, "epoch": header["epoch"], "record": record}


def verify_consistency(path: Path, key: str) -> dict:
    """Verify that one checkpoint continues another."""
    proof = load(path, "de39-consistency/1", {"old", "new", "path"})
    origin, old, old_root = checkpoint(proof["old"], key)
    new_origin, new, new_root = checkpoint(proof["new"], key)
    if origin != new_origin:
        raise Refused("the checkpoints are of two ledgers")
    grown(old, new, old_root, new_root, [unhex(h, 32) for h in proof["path"]])
    return {"origin": origin, "old": old, "new": new}


def batches(folder: Path) -> Iterator[tuple[dict, bytes, bytes]]:
    """Yield (header, its bytes, body) of each batch of a journal, chain checked."""
    paths = sorted(folder.glob("*.seg"))
    if not paths:
        raise Refused(f"no segments in {folder}")
    after: tuple[int, int, bytes] | None = None
    for path in paths:
        data = path.read_bytes()
        page = SEGMENT.unpack_from(data)
        if page[0] != SEGMENT_MAGIC or page[-1] != zlib.crc32(data[:252]) or page[10] != len(data):
            raise Refused(f"{path.name}: segment header")
        begin = (page[7], page[8], page[11])
        if after is None:
            after = begin
            if path.stem == "00000001" and begin != (1, 1, bytes(32)):
                raise Refused(f"{path.name}: not the beginning of a journal")
        if begin != after:
            raise Refused(f"{path.name}: does not continue the segment before")
        at = PAGE
        while at + PAGE <= len(data) and data[at : at + 8] == BATCH_MAGIC:
            raw = data[at : at + HEADER.size]
            header = parse_header(raw)
            body = data[at + HEADER.size : at + HEADER.size + header["body_bytes"]]
            where = f"{path.name}: batch {header['batch_no']}"
            if (header["batch_no"], header["first_seq"], header["prev_head"]) != after:
                raise Refused(f"{where} does not continue the chain")
            if sha256(body) != header["body_hash"] or body[-8:] != END_MARK:
                raise Refused(f"{where}: body differs from its hash")
            yield header, raw, body
            count = header["record_count"]
            after = (header["batch_no"] + 1, header["first_seq"] + count, sha256(raw))
            at += -(-(HEADER.size + len(body)) // PAGE) * PAGE
        if any(data[at:]):
            raise Refused(f"{path.name}: bytes that are no batch at {at}")


class Account:
    """Memo balances of one account, moved by what a record says."""

    def __init__(self) -> None:
        self.limit = self.prepaid = self.otb = self.hold = self.used = self.over = 0

    def apply(self, record: dict) -> None:
        """Post one approved record, then compare with the check values in it."""
        kind, amount = record["kind"], record["amount_minor"]
        freed = self.hold - record["hold_after_minor"]
        if record["result"] < 100:
            if kind in (1, 2, 4):
                self.otb += freed  # negative: the hold grew
                self.hold -= freed
            elif kind in (5, 6, 8):
                self.hold -= freed
                self.free(freed) if freed > 0 else self.spend(-freed)
            elif kind in (9, 10, 11, 12, 31):
                self.hold -= freed
                from_hold = min(amount, freed)
                self.bill(amount)
                self.spend(amount - from_hold)
                self.free(freed - from_hold)
            elif kind in (13, 14, 18):
                paid = min(amount, self.used)
                self.used -= paid
                self.prepaid += amount - paid
                self.free(amount)
                if kind == 14 and freed < 0:  # the hold takes back what was cleared from it
                    self.hold -= freed
                    self.spend(-freed)
            elif kind == 19:
                self.bill(amount)
                self.spend(amount)
            elif kind in (23, 101):
                change = amount - self.limit
                self.limit = amount
                self.free(change) if change > 0 else self.spend(-change)
        self.check(record)

    def bill(self, amount: int) -> None:
        """USED grows by what the customer's own money does not pay."""
        credit = min(amount, self.prepaid)
        self.prepaid -= credit
        self.used += amount - credit

    def free(self, amount: int) -> None:
        """Pay OVER, the rest to OTB."""
        pays = min(amount, self.over)
        self.over -= pays
        self.otb += amount - pays

    def spend(self, amount: int) -> None:
        """Take OTB, the rest is OVER."""
        takes = min(amount, self.otb)
        self.otb -= takes
        self.over += amount - takes

    def check(self, record: dict) -> None:
        """Raise ``Refused`` where the record says other balances."""
        balanced = self.limit + self.prepaid == self.otb + self.hold + self.used - self.over
        after = (record["otb_after_minor"], record["hold_after_minor"])
        if not balanced or (self.otb, self.hold) != after or min(self.otb, self.over) != 0:
            raise Refused(f"record {record['seq']}: balances differ from what was posted")


def verify_journal(folder: Path, head: str | None, key: str | None) -> dict:
    """Recompute head, numbers, balances and, with ``key``, the newest checkpoint's root."""
    journal = folder / "journal" if (folder / "journal").is_dir() else folder
    if not any(journal.glob("*.seg")):
        raise Refused(f"no segments in {journal}")
    note_path = journal.parent / "proof" / "checkpoint"
    signed = checkpoint(note_path.read_text("utf-8"), key) if key else None
    accounts: dict[int, Account] = {}
    leaves: list[bytes] = []
    last, count, seq = bytes(32), 0, 0
    is_whole = (journal / "00000001.seg").exists()
    for header, raw, body in batches(journal):
        rows = [body[i : i + 192] for i in range(0, header["record_count"] * 192, 192)]
        for number, row in enumerate(rows):
            record = parse_record(row)
            seq = record["seq"]
            if seq != header["first_seq"] + number:
                raise Refused(f"record {seq} stands where another should")
            if record["account"] and is_whole:
                accounts.setdefault(record["account"], Account()).apply(record)
        count += len(rows)
        last = sha256(raw)
        if signed and header["batch_no"] <= signed[1]:
            leaves.append(leaf(last + tree([leaf(row) for row in rows])))
    if head is not None and last.hex() != head:
        raise Refused(f"the head is {last.hex()}, not {head}")
    if signed and is_whole and (len(leaves) != signed[1] or tree(leaves) != signed[2]):
        raise Refused("the journal is not the one that the checkpoint was signed for")
    held = sum(account.hold for account in accounts.values())
    facts = {"records": count, "last_seq": seq, "head": last.hex(), "accounts": len(accounts)}
    return {**facts, "held_minor": held, "checkpoint": bool(signed and is_whole)}


def tree(hashes: list[bytes]) -> bytes:
    """Return the root over leaf hashes: an odd one at the end of a level goes up as it is."""
    if not hashes:
        return bytes(32)
    while len(hashes) > 1:
        pairs = [node(*hashes[i : i + 2]) for i in range(0, len(hashes) - 1, 2)]
        hashes = pairs + (hashes[-1:] if len(hashes) % 2 else [])
    return hashes[0]


def key_text(value: str) -> str:
    """Return a key given as text or as the name of a file that holds it."""
    path = Path(value)
    if path.is_file():
        return path.read_text("utf-8").strip()
    if "+" not in value:
        text = f"{value}: no such file, and no line name+hash+key of proof/verifier"
        raise argparse.ArgumentTypeError(text)
    return value


def main(arguments: list[str] | None = None) -> int:
    """Verify what the command line names; return the exit code."""
    parser = argparse.ArgumentParser(description="verify receipts and journals of de39, offline")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("receipt", "consistency", "journal"):
        sub = verbs.add_parser(verb)
        sub.add_argument("path", type=Path)
        sub.add_argument("--key", required=verb != "journal", type=key_text)
        sub.add_argument("--witness", action="append", default=[], type=key_text)
        sub.add_argument("--head")
    given = parser.parse_args(arguments)
    try:
        if given.verb == "receipt":
            facts = verify_receipt(given.path, given.key, given.witness)
        elif given.verb == "consistency":
            facts = verify_consistency(given.path, given.key)
        else:
            facts = verify_journal(given.path, given.head, given.key)
    except (Refused, OSError, struct.error) as problem:
        sys.stderr.write(f"NOT VERIFIED: {problem}\n")
        return 1
    sys.stdout.write(json.dumps({"verified": True, **facts}, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
