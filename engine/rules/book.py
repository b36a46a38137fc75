"""What the journal says about rules: the set in force, the modes of its rules, lists, breakers.

State, so a fold of the records: RULES puts a whole set in force (its text stands in the record's
blobs, so the journal explains itself), RULE_MODE changes what one rule does, LIST changes entries.
Everything here changes between two requests and at a stated record.
"""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.rules.breaker_kernels import BREAKER, count_records, pass_records, records_until_trip
from engine.rules.deployed import Deployed, deploy
from engine.rules.language import parse
from engine.rules.list_kernels import FOREVER, LIST_ENTRY, SNOOZE_PREFIX, list_number
from engine.rules.list_table import ListTable
from engine.rules.program import Program, no_rules, program_from_file
from engine.rules.statements import DEFAULT, MODEL
from engine.rules.tree import Mode, is_limit_target
from engine.zones import zone_table
from ledger.journal import Blob, BlobKind
from ledger.record import Kind

RULE_KINDS = (Kind.RULES, Kind.RULE_MODE, Kind.LIST, Kind.ZONES)
_KNOWN_SETS = 8  # parsed sets that are kept: a roll-back costs no parsing


class ListChange:
    """What a LIST record does, in its ``status``."""

    ADD = 1
    REMOVE = 2
    CLEAR = 3


class Source:
    """Where a rule set came from, in the ``status`` of its RULES record."""

    FILE = 1
    OPERATOR = 2


class Trip(NamedTuple):
    """A breaker that has tripped: ``place`` is the rule's, the rule count = the model's."""

    place: int
    name: str
    refused: int
    payments: int


class Watcher(Protocol):
    """Told of a fold, in order of records; ``engine.rule_counts`` is one."""

    def saw(self, records: NDArray[np.void], blobs: Sequence[Blob]) -> None:
        """Take records, with the blobs of theirs."""
        ...

    def changed(self, book: "RuleBook") -> None:
        """Look at the rules: they are others, or in other modes, from the next record on."""
        ...


class RuleBook:
    """Rules as they stand; one owner thread."""

    def __init__(self) -> None:
        self.lists = ListTable()
        self.watcher: Watcher | None = None  # while a journal is read
        self.list_types: dict[str, str] = {}  # name -> type, of lists with records
        self.is_journaled = False
        self.file_sha256 = ""  # of the last set that came from a file
        self.zones = ""  # release and hash of the time zones that the last record names
        self._known: dict[str, Deployed] = {}
        self.own_modes: dict[str, int] = {}  # by rule name; "model" for the scorer
        self.snooze_count = 0  # entries that snooze a rule of this set
        self.install(no_rules())

    @property
    def program(self) -> Program:
        """The rule set in force."""
        return self.deployed.program

    @property
    def has_breakers(self) -> bool:
        """Whether any rule is watched."""
        return self._has_breakers

    def install(self, program: Program) -> None:
        """Put ``program`` in force, each rule in the mode that its file states."""
        self.own_modes = {}
        known = self._known.get(program.sha256)
        self._stated = known if known and known.program is program else deploy(program)
        self.deployed: Deployed = self._stated
        count = program.rule_count
        self.breakers: NDArray[np.void] = _breakers(program)
        self.totals: NDArray[np.int64] = np.zeros(3, np.int64)
        self.watched: NDArray[np.uint8] = np.zeros(count + 1, np.uint8)
        self.reads_score: NDArray[np.uint8] = np.ascontiguousarray(program.rules["reads_score"])
        self._has_breakers = bool((self.breakers["window"] > 0).any())
        self._snoozes: tuple[int, ...] = tuple(program.rules["snooze"].tolist())
        self._count_snoozes()
        self._refresh()

    def set_mode(self, name: str, mode: Mode) -> None:
        """Change what the rule ``name`` does ("model": all rules that read the score)."""
        self.own_modes[name] = int(mode)
        place = self._place(name)
        if place is not None:
            row = self.breakers[place : place + 1]
            for field in ("current", "previous", "is_due"):
                row[field] = 0
            row["began"] = self.totals[0]
        self._refresh()

    def mode_of(self, name: str) -> Mode:
        """Return the mode in force of a rule, or of the model."""
        if name == MODEL:
            return Mode(self.own_modes.get(MODEL, Mode.ACTIVE))
        return Mode(int(self.deployed.modes[self.program.names.index(name)]))

    def advance(self, last_seq: int) -> None:
        """Let the breakers look where ``last_seq`` is the last record; before the next message."""
        if self._has_breakers:
            pass_records(last_seq, self.breakers, self.watched, self.totals)

    def records_until_trip(self, next_seq: int, most: int) -> int:
        """Return how many records may be written, up to ``most``, before a breaker may trip.

        At the next look, or once as many payments could have been refused as a limit has left:
        a record is one payment at most.
        """
        return int(records_until_trip(next_seq, most, self.breakers, self.watched))

    def due(self) -> list[Trip]:
        """Return the breakers that have tripped and have no record yet."""
        if not self._has_breakers:
            return []
        names = (*self.program.names, MODEL)
        return [
            Trip(place, names[place], *self._counted(place))
            for place in np.flatnonzero(self.breakers["is_due"]).tolist()
        ]

    def apply(self, record: np.void, blobs: Sequence[Blob]) -> None:
        """Apply one record of RULE_KINDS with its blobs."""
        kind = int(record["kind"])
        if kind == Kind.RULES:
            self._apply_rules(int(record["status"]), blobs)
        elif kind == Kind.RULE_MODE:
            self.set_mode(_text(blobs, BlobKind.NAME), Mode(int(record["amount_minor"])))
        elif kind == Kind.LIST:
            self._apply_list(record, blobs)
        self.zones = _text(blobs, BlobKind.ZONES) or self.zones

    def fold(self, records: NDArray[np.void], blobs: Sequence[Blob]) -> None:
        """Apply ``records`` in order: counts of payments, and what changes rules."""
        refusing = refusing_of(len(records), blobs)
        at = 0
        for row in np.flatnonzero(np.isin(records["kind"], RULE_KINDS)).tolist():
            self._count(records[at:row], refusing[at:row])
            self._show(records, at, row, blobs)
            self.apply(records[row], [blob for blob in blobs if blob.row == row])
            self._count(records[row : row + 1], refusing[row : row + 1])
            if self.watcher is not None and records[row]["kind"] != Kind.LIST:
                self.watcher.changed(self)
            at = row + 1
        self._count(records[at:], refusing[at:])
        self._show(records, at, len(records), blobs)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what a snapshot keeps; nothing before the first record about rules."""
        if not self.is_journaled:
            return {}
        facts = {
            "text": self.program.text,
            "file_sha256": self.file_sha256,
            "own_modes": self.own_modes,
            "list_types": self.list_types,
            **({"zones": self.zones} if self.zones else {}),
        }
        text = json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()
        return {
            "rules": np.frombuffer(text, np.uint8).copy(),
            "rule_lists": self.lists.all_entries(),
            "rule_breakers": self.breakers.copy(),
            "rule_totals": self.totals.copy(),
        }

    def restore(self, arrays: dict[str, NDArray[Any]]) -> None:
        """Take over what ``arrays`` gave."""
        if "rules" not in arrays:
            return
        facts = json.loads(arrays["rules"].tobytes())
        self.install(self._program(facts["text"]))
        self.own_modes = facts["own_modes"]
        self.file_sha256 = facts["file_sha256"]
        self.list_types = facts["list_types"]
        self.zones = facts.get("zones", "")
        self.lists.load(arrays["rule_lists"].astype(LIST_ENTRY))
        self._count_snoozes()
        self.breakers[:] = arrays["rule_breakers"]
        self.totals[:] = arrays["rule_totals"]
        self.is_journaled = True
        self._refresh()

    def remember(self, program: Program) -> None:
        """Keep a set ready, so that the record that names it costs a swap and nothing else."""
        self._known.pop(program.sha256, None)
        self._known[program.sha256] = deploy(program)
        while len(self._known) > _KNOWN_SETS:
            self._known.pop(next(iter(self._known)))

    def _apply_rules(self, source: int, blobs: Sequence[Blob]) -> None:
        packed = b"".join(b.data for b in blobs if b.kind == BlobKind.RULES_TEXT)
        sha256 = next((b.data.hex() for b in blobs if b.kind == BlobKind.RULES_SHA256), "")
        ready = self._known.get(sha256)
        if ready is not None:
            program = ready.program
        else:
            program = self._program(zlib.decompress(packed).decode() if packed else "")
        self.install(program)
        self.is_journaled = True
        if source == Source.FILE:
            self.file_sha256 = program.sha256

    def _program(self, text: str) -> Program:
        program = program_from_file(parse(text, file="journal")) if text else no_rules()
        self.remember(program)
        return program

    def _apply_list(self, record: np.void, blobs: Sequence[Blob]) -> None:
        name, _, type_name = _text(blobs, BlobKind.NAME).partition(" ")
        keys = [np.frombuffer(b.data, "<u8") for b in blobs if b.kind == BlobKind.KEYS]
        joined = np.concatenate(keys).astype(np.uint64) if keys else np.zeros(0, np.uint64)
        number, now_s = list_number(name), int(record["ts_ns"]) // 1_000_000_000
        if not name.startswith(SNOOZE_PREFIX):
            self.list_types[name] = type_name
        change = int(record["status"])
        if change == ListChange.ADD:
            until_s = int(record["amount2_minor"]) or FOREVER
            self.lists.add(number, joined, now_s, until_s)
        elif change == ListChange.REMOVE:
            self.lists.remove(number, joined)
        elif change == ListChange.CLEAR:
            self.lists.clear(number)
        self._count_snoozes()
        self.is_journaled = True

    def _count_snoozes(self) -> None:
        counts = self.lists.counts
        self.snooze_count = sum(counts.get(number, 0) for number in self._snoozes)

    def _show(self, records: NDArray[np.void], at: int, end: int, blobs: Sequence[Blob]) -> None:
        if self.watcher is not None:
            own = [blob for blob in blobs if at <= blob.row < end] if blobs else []
            self.watcher.saw(records[at:end], own)

    def _count(self, records: NDArray[np.void], refusing: NDArray[np.int16]) -> None:
        if self._has_breakers and len(records):
            facts = (self.reads_score, self.breakers, self.watched, self.totals)
            count_records(records, refusing, *facts)

    def _counted(self, place: int) -> tuple[int, int]:
        row = self.breakers[place]
        half = int(row["window"]) // 2
        seen = int(self.totals[0]) - int(row["began"])
        return int(row["current"]) + int(row["previous"]), min(seen + half, int(self.totals[0]))

    def _place(self, name: str) -> int | None:
        if name == MODEL:
            return self.program.rule_count
        return self.program.names.index(name) if name in self.program.names else None

    def _refresh(self) -> None:
        """Make the arrays that depend on the modes anew."""
        program = self.program
        modes = modes_of(program, self.own_modes)
        own_model = self.own_modes.get(MODEL, Mode.ACTIVE)
        self.deployed = deploy(program, modes) if self.own_modes else self._stated
        self.watched[:-1] = modes == Mode.ACTIVE
        self.watched[-1] = own_model == Mode.ACTIVE


def modes_of(program: Program, own_modes: Mapping[str, int]) -> NDArray[np.uint8]:
    """Return the mode of each rule, u8[r]: as its file states, or as changed since by name."""
    modes: NDArray[np.uint8] = np.ascontiguousarray(program.rules["mode"])
    for name, mode in own_modes.items():
        if name in program.names:
            modes[program.names.index(name)] = mode
    own_model = own_modes.get(MODEL, Mode.ACTIVE)
    if own_model != Mode.ACTIVE:
        reading = program.rules["reads_score"] != 0
        modes[reading] = np.minimum(modes[reading], own_model)
    return modes


def hits_of(records: NDArray[np.void], blobs: Iterable[Blob], words: int) -> NDArray[np.uint64]:
    """Return which rules held on RECORD (k,) as bits, u64[k, words]: those past 128 too."""
    hits = np.zeros((len(records), max(words, 2)), np.uint64)
    hits[:, 0], hits[:, 1] = records["hits_lo"], records["hits_hi"]
    for blob in blobs:
        if blob.kind == BlobKind.HITS:
            for place in np.frombuffer(blob.data, "<u2").tolist():
                if place >> 6 < hits.shape[1]:
                    hits[blob.row, place >> 6] |= np.uint64(1 << (place & 63))
    return hits


def refusing_of(count: int, blobs: Iterable[Blob]) -> NDArray[np.int16]:
    """Return the place of the rule that refused each of ``count`` records, -1 = none."""
    refusing = np.full(count, -1, np.int16)
    for blob in blobs:
        if blob.kind == BlobKind.RULE:
            refusing[blob.row] = int.from_bytes(blob.data, "little")
    return refusing


def rules_blobs(program: Program) -> list[Blob]:
    """Return the blobs of a RULES record: full hash and packed text; rows are 0."""
    if not program.sha256:
        return []
    packed = zlib.compress(program.text.encode(), 9)
    size = 400
    chunks = [packed[at : at + size] for at in range(0, len(packed), size)]
    return [
        Blob(0, BlobKind.RULES_SHA256, bytes.fromhex(program.sha256)),
        *(Blob(0, BlobKind.RULES_TEXT, chunk) for chunk in chunks),
        *([zones_blob()] if program.reads_clock else []),
    ]


def zones_blob() -> Blob:
    """Return the blob that names the table of time zones of this program."""
    return Blob(0, BlobKind.ZONES, zone_table().version.encode())


def program_of_blobs(blobs: Iterable[Blob]) -> Program:
    """Return the rule set that the blobs of a RULES record hold."""
    packed = b"".join(b.data for b in blobs if b.kind == BlobKind.RULES_TEXT)
    if not packed:
        return no_rules()
    return program_from_file(parse(zlib.decompress(packed).decode(), file="journal"))


def _breakers(program: Program) -> NDArray[np.void]:
    """Return BREAKER[r + 1] of a set: its own statement, else the default one, else none."""
    found = np.zeros(program.rule_count + 1, BREAKER)
    by_target = {breaker.target: breaker for breaker in program.source.breakers}
    for place, rule in enumerate(program.source.rules):
        breaker = by_target.get(rule.name, by_target.get(DEFAULT))
        if breaker is not None and is_limit_target(rule):
            found[place]["window"], found[place]["limit"] = breaker.window, breaker.limit
    if MODEL in by_target:
        found[-1]["window"] = by_target[MODEL].window
        found[-1]["limit"] = by_target[MODEL].limit
    return found


def _text(blobs: Sequence[Blob], kind: int) -> str:
    return next((blob.data.decode("utf-8", "replace") for blob in blobs if blob.kind == kind), "")
